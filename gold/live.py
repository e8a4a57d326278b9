"""How a gold table is kept while events come: what DuckDB keeps of each micro-batch, and how rows follow from that.

The SQL reads `new_events`, the accepted events of one micro-batch: `moment` (event_time in microseconds since the
epoch), `hour` (the clock hour that holds it, counted since the epoch), `u` (a hash of user_id) and columns of
silver.events.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lakehouse.table import Table

IS_VIEW = "event_type IN ('product_view', 'page_view') AND product_id IS NOT NULL"
"""`gold.shop.is_product_view`, as DuckDB reads it."""
IS_PAID = "event_type = 'purchase' AND coalesce(payment_status, 'approved') = 'approved'"
"""`gold.shop.is_paid_purchase`, as DuckDB reads it."""


@dataclass(frozen=True)
class Kept:
    """Rows that are kept of every micro-batch: `of_batch` makes them. Each has the column `age`, the hour that it
    belongs to, or with `per_second` the second: then only the rolling last hour is kept."""

    of_batch: str
    merged: str = ""
    """Makes rows of equal grain one, where that is worth it; with the places {kept} and {where}."""
    is_set: bool = False
    """Rows have the column `key`, and only the first of an age and key is kept."""
    per_second: bool = False


@dataclass(frozen=True)
class Live:
    """A gold table's live form. `rows` makes its rows for some hours: of {hours}, with the places {closed} (the newest
    final hour), {as_of} (seconds since the epoch), {top_n}, {currency} (the shop's, or NULL), and one per name in
    `kept` that merges: its merged rows."""

    table: Table
    rows: str
    kept: dict[str, Kept] = field(default_factory=dict)
