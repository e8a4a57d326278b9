"""The lake's own tables."""
