"""The lake's own tables, and the catalogue of all of them."""
