"""All tables, in the order of the data's way. Adding a table is one module and one line here."""

from bronze import events as bronze_events
from gold import fraud, fraud_coverage, kpis, retention, revenue, top_products, user_days
from lakehouse.ops import batches, erasures, marks, replays, schema_changes
from lakehouse.table import Table
from quality import results as quality_results
from quality import unknown_fields
from silver import events as silver_events
from silver import quarantine

TABLES: tuple[Table, ...] = (
    bronze_events.TABLE,
    silver_events.TABLE,
    quarantine.TABLE,
    top_products.HOURLY,
    top_products.LAST_HOUR,
    kpis.TABLE,
    revenue.TABLE,
    fraud.TABLE,
    fraud_coverage.TABLE,
    user_days.TABLE,
    retention.TABLE,
    batches.TABLE,
    marks.TABLE,
    replays.TABLE,
    erasures.RECORDS,
    erasures.RECEIPTS,
    schema_changes.TABLE,
    unknown_fields.TABLE,
    quality_results.TABLE,
    quality_results.OVERRIDES,
    quality_results.LEDGER,
)
