"""What shop events mean: the conditions on silver events that gold tables share, for Spark and for DuckDB (source: the
contract)."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

IS_VIEW = "event_type IN ('product_view', 'page_view') AND product_id IS NOT NULL"
"""`is_product_view`, as DuckDB reads it."""
IS_PAID = "event_type = 'purchase' AND coalesce(payment_status, 'approved') = 'approved'"
"""`is_paid_purchase`, as DuckDB reads it."""


def is_product_view() -> Column:
    """A product was looked at: a `product_view`, or a `page_view` that names its product."""
    event_type = F.col("event_type")
    names_product = F.col("product_id").isNotNull()
    return ((event_type == "product_view") | (event_type == "page_view")) & names_product


def is_paid_purchase() -> Column:
    """A purchase whose payment went through; a missing status counts as approved."""
    is_paid = F.coalesce(F.col("payment_status"), F.lit("approved")) == "approved"
    return (F.col("event_type") == "purchase") & is_paid
