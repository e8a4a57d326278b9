"""What the shop looks at: one module per table."""
