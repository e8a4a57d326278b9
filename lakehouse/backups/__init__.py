"""Copies a lake elsewhere, and back."""
