"""Figures for the shop: one module per table."""
