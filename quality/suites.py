"""All suites, in the order of the data's way. Adding a table's expectations is one module and one line here."""

from quality import (
    gold_fraud,
    gold_kpis,
    gold_retention,
    gold_top_products,
    ops_batches,
    silver_events,
    silver_quarantine,
)
from quality.declaration import Suite

SUITES: tuple[Suite, ...] = (
    *silver_events.SUITES,
    *silver_quarantine.SUITES,
    *gold_top_products.SUITES,
    *gold_kpis.SUITES,
    *gold_fraud.SUITES,
    *gold_retention.SUITES,
    *ops_batches.SUITES,
)
