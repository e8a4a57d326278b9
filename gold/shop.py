"""Meaning of shop events: the conditions on silver events that gold tables share, as Spark and DuckDB both read them
(source: the contract). `F.expr` makes a column of one."""

IS_VIEW = "event_type IN ('product_view', 'page_view') AND product_id IS NOT NULL"
"""A product was looked at: a `product_view`, or a `page_view` that names its product."""
IS_PAID = "event_type = 'purchase' AND coalesce(payment_status, 'approved') = 'approved'"
"""A purchase whose payment went through; a missing status counts as approved."""
