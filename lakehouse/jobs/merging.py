"""Changes a job makes row by row in tables that the stream writes, too, and the run in whose name it does."""

import random

import tenacity
from pyspark.sql import DataFrame

from lakehouse.lake import Lake, settled
from lakehouse.session import marked_run
from lakehouse.table import Table

ATTEMPTS = 40
"""The stream adds to the newest day of the quarantine every second or so, and an update has to fit in between."""
OUT_OF_STEP = tenacity.wait_random(0, 2)
"""Other than the pauses of a replay that met the same writer."""


def run_name(lake: Lake) -> str:
    """The id of the run whose session this is; `by hand` for a session that belongs to none."""
    return marked_run(lake.spark) or "by hand"


def same_in(*columns: str) -> str:
    """The condition of `merge` that `kept` and `found` are alike in these columns."""
    return " AND ".join(f"kept.`{name}` = found.`{name}`" for name in columns)


def merge(lake: Lake, table: Table, found: DataFrame, on: str, then: str) -> None:
    """Do `then`, such as DELETE, to the rows of a table (`kept`) that match one of `found`. The table's history says
    `on`, which must tell nothing of a person."""
    view = f"found_{random.getrandbits(64):x}"
    found.createOrReplaceTempView(view)
    statement = f"MERGE INTO delta.`{lake.path(table)}` AS kept USING {view} AS found ON {on} WHEN MATCHED THEN {then}"
    settled(lambda: lake.spark.sql(statement).collect(), attempts=ATTEMPTS, wait=OUT_OF_STEP)
    lake.spark.catalog.dropTempView(view)
