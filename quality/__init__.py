"""Expectations and the publishing gate (not built yet)."""
