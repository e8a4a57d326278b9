"""Accepted events once each, and refused records with their reason."""
