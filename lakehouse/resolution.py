"""Writes down what became of refused records: in `ops.replays`, and as resolved in `silver.quarantine`."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pyspark.errors import PySparkException
from pyspark.sql import Row

from lakehouse import replays
from lakehouse.lake import Lake
from lakehouse.redrive import Place
from silver import quarantine

ATTEMPTS = 40
"""The stream adds to the newest day of the quarantine every second or so, and an update has to fit in between."""
_RUN = "run:"


def run_name(lake: Lake) -> str:
    """The id of the run whose session this is; `by hand` for a session that belongs to none."""
    mark = lake.spark.conf.get("spark.databricks.delta.commitInfo.userMetadata", "") or ""
    return mark.removeprefix(_RUN) if mark.startswith(_RUN) else "by hand"


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
    lake.append(replays.TABLE, lake.spark.createDataFrame(rows, replays.TABLE.schema).coalesce(1))
    _mark_resolved(lake, [row for row, _, _ in fates], run)


def _mark_resolved(lake: Lake, records: Iterable[Row], run: str) -> None:
    found = [(row["ingest_date"], row["origin"], row["partition"], row["offset"]) for row in records]
    schema = "ingest_date date, topic string, partition int, offset bigint"
    view = f"resolved_{random.getrandbits(64):x}"
    lake.spark.createDataFrame(found, schema).createOrReplaceTempView(view)
    days = ", ".join(f"DATE '{day}'" for day in sorted({each[0] for each in found}))
    merge = (
        f"MERGE INTO delta.`{lake.path(quarantine.TABLE)}` AS kept USING {view} AS found"
        f" ON kept.ingest_date IN ({days}) AND kept.ingest_date = found.ingest_date AND kept.topic = found.topic"
        " AND kept.`partition` = found.`partition` AND kept.`offset` = found.`offset` AND kept.status = 'open'"
        f" WHEN MATCHED THEN UPDATE SET status = 'resolved', resolved_by = '{run}'"
    )
    for attempt in range(ATTEMPTS):
        try:
            lake.spark.sql(merge).collect()
            break
        except PySparkException as error:
            if attempt == ATTEMPTS - 1 or "DELTA_CONCURRENT" not in str(error):
                raise
            time.sleep(random.random() * 2)  # noqa: S311
    lake.spark.catalog.dropTempView(view)
