"""What counts as a view and as revenue, in SQL that both Spark and DuckDB read."""

IS_VIEW = "event_type IN ('product_view', 'page_view') AND product_id IS NOT NULL"
"""A product was looked at: a `product_view`, or a `page_view` that names its product."""
IS_PAID = "event_type = 'purchase' AND coalesce(payment_status, 'approved') = 'approved'"
"""A purchase whose payment went through; a missing status counts as approved."""
