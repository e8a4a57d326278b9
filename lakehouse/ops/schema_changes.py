"""ops.migrations, and what writes it: declared columns that a table in the lake lacks are added to it.

Old rows have NULL, older code reads and writes on, and a second run finds nothing to do. How the contract grows:
docs/decisions/schema-change.md.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow as pa
import structlog
import tenacity
from pyspark.errors import PySparkException
from pyspark.sql.types import IntegerType, StringType, StructField, StructType, TimestampType

from lakehouse.errors import ShoplakeError
from lakehouse.lake import ATTEMPTS, WAIT, Lake, arrow_rows
from lakehouse.table import Table, column
from producer.contract import CONTRACT_VERSION

TABLE = Table(
    layer="ops",
    name="migrations",
    grain="one change that was made to a table in the lake",
    schema=StructType(
        [
            column("table_name", StringType(), "The table, as gold.kpis_hourly"),
            column("change", StringType(), "What was done, as: add column coupon string"),
            column("contract_version", IntegerType(), "Newest version of the contract that the code knew"),
            column("applied_at", TimestampType(), "When, UTC"),
        ]
    ),
    keys=("table_name", "change"),
    writer="delta-rs",
)
log = structlog.get_logger()


def apply(lake: Lake, tables: Iterable[Table]) -> list[str]:
    """Add the columns that the declarations have and the lake has not; the changes made, as `table: change`.

    The tables, and TABLE, must exist. Several processes may do this at once, beside writers and readers. Raises
    ShoplakeError when a column of the lake has another type than its declaration.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        return [change for changes in pool.map(lambda table: _apply(lake, table), tables) for change in changes]


def missing_columns(table: Table, actual: StructType) -> list[StructField]:
    """Declared columns that `actual` lacks. Raises ShoplakeError when one is there with another type."""
    found = {field.name: field.dataType.simpleString() for field in actual.fields}
    for field in table.schema.fields:
        declared = field.dataType.simpleString()
        if (known := found.get(field.name, declared)) != declared:
            raise ShoplakeError(
                f"{table.full_name}.{field.name} is {known} in the lake and {declared} in its declaration. The type of"
                " a column never changes: declare a column of another name."
            )
    return [field for field in table.schema.fields if field.name not in found]


def _apply(lake: Lake, table: Table) -> list[str]:
    missing = missing_columns(table, lake.read(table).schema)
    for field in missing:
        _log(lake, table, _change(field))
    return [f"{table.full_name}: {_change(field)}" for field in (_add_missing(lake, table) if missing else [])]


@tenacity.retry(
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=WAIT,
    retry=tenacity.retry_if_exception_type(PySparkException),
    reraise=True,
)
def _add_missing(lake: Lake, table: Table) -> list[StructField]:
    """Another process may be first, so each attempt looks again at what is missing."""
    missing = missing_columns(table, lake.read(table).schema)
    if missing:
        lake.small.add_columns(table, [field.name for field in missing])
    return missing


def _change(field: StructField) -> str:
    return f"add column {field.name} {field.dataType.simpleString()}"


def _log(lake: Lake, table: Table, change: str) -> None:
    """Write the row before the change, and only once: if this process dies in between, the next makes the change."""
    log.info("migration", table=table.full_name, change=change)
    row = arrow_rows(TABLE, [(table.full_name, change, CONTRACT_VERSION, datetime.now(UTC))])
    keys = list(TABLE.keys)

    def with_row(known: pa.Table) -> pa.Table | None:
        is_there = row.select(keys).to_pylist()[0] in known.select(keys).to_pylist()
        return None if is_there else pa.concat_tables([known, row.cast(known.schema)])

    lake.small.change(TABLE, with_row)
