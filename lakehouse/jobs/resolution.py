"""Writes down what became of refused records: in `ops.replays`, and as resolved in `silver.quarantine`."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import tenacity
from pyspark.sql import Row

from lakehouse import hours as clock
from lakehouse.lake import Lake, settled
from lakehouse.ops import replays
from lakehouse.raw_records import Place
from lakehouse.session import marked_run
from silver import quarantine

ATTEMPTS = 40
"""The stream adds to the newest day of the quarantine every second or so, and an update has to fit in between."""
OUT_OF_STEP = tenacity.wait_random(0, 2)
"""Other than the pauses of a replay that met the same writer."""


def run_name(lake: Lake) -> str:
    """The id of the run whose session this is; `by hand` for a session that belongs to none."""
    return marked_run(lake.spark) or "by hand"


def resolve(lake: Lake, fates: Sequence[tuple[Row, str, Place | None]], fix: str | None) -> None:
    """Write the fates of records (quarantine rows judged again, outcome, new place) down; nothing for none."""
    if not fates:
        return
    run, now = run_name(lake), datetime.now(UTC)
    rows = [
        (run, row["origin"], row["partition"], row["offset"], row["was"], row["event_id"], fix, outcome,
         *(place or (None, None, None)), now)
        for row, outcome, place in fates
    ]  # fmt: skip
    # An earlier try of this run may have written some of them and died before it marked them as resolved.
    written = {tuple(row[key] for key in replays.TABLE.keys) for row in lake.small.read(replays.TABLE).to_pylist()}
    if left := [row for row in rows if (row[0], *row[1:4]) not in written]:
        lake.append_rows(replays.TABLE, left)
    _mark_resolved(lake, [row for row, _, _ in fates], run)


def _mark_resolved(lake: Lake, records: Iterable[Row], run: str) -> None:
    found = [(row["ingest_date"], row["origin"], row["partition"], row["offset"]) for row in records]
    schema = "ingest_date date, topic string, partition int, offset bigint"
    view = f"resolved_{random.getrandbits(64):x}"
    lake.spark.createDataFrame(found, schema).createOrReplaceTempView(view)
    on_days = clock.sql_on_days("kept.ingest_date", {each[0] for each in found})
    merge = (
        f"MERGE INTO delta.`{lake.path(quarantine.TABLE)}` AS kept USING {view} AS found"
        f" ON {on_days} AND kept.ingest_date = found.ingest_date AND kept.topic = found.topic"
        " AND kept.`partition` = found.`partition` AND kept.`offset` = found.`offset` AND kept.status = 'open'"
        f" WHEN MATCHED THEN UPDATE SET status = 'resolved', resolved_by = '{run}'"
    )

    def update() -> None:
        lake.spark.sql(merge).collect()

    settled(update, attempts=ATTEMPTS, wait=OUT_OF_STEP)
    lake.spark.catalog.dropTempView(view)
