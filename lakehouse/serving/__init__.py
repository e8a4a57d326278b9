"""Gates gold, publishes it as a DuckDB file, and reads that."""
