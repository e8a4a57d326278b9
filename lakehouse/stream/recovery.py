"""Where an earlier process stopped: the last booked batch, and writes that it left half done."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from bronze import events as bronze_events
from gold import top_products
from lakehouse import hours as clock
from lakehouse.broker import Offsets
from lakehouse.delta_log import DataFile, snapshot
from lakehouse.lake import Lake
from lakehouse.ops import batches
from lakehouse.s3 import s3_client
from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_text, utc_text
from lakehouse.stream.fold import OF_EVENT, frontier_at
from lakehouse.table import Table
from silver import events as silver_events
from silver import quarantine
from silver.deduplicate import COORDINATES

if TYPE_CHECKING:
    import pyarrow as pa

LOOK_BACK = "INTERVAL 5 MINUTES"


@dataclass(frozen=True)
class Start:
    """Where a start of the stream continues: where the book ends. The checkpoint of an earlier start is not read: it
    may be lost, or an old copy."""

    offsets: Offsets
    """Next offset per topic-partition."""
    newest: str = ""
    """The last batch in the book: `generation:number`."""
    first_batch_id: int = 0
    began_at: datetime | None = None
    """When the first batch in the book began, UTC: nothing arrived before."""
    in_lake: Offsets = field(default_factory=dict)
    """Next offset that no table has: beyond `offsets` if a batch was interrupted between its writes."""
    generation: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The name of this start in the book."""


def read_start(lake: Lake) -> Start:
    """Where a stream has to continue, according to the tables of the lake."""
    groups = lake.read(batches.TABLE).groupBy("topic", "partition")
    rows = groups.agg(
        F.max("to_offset").alias("next_offset"),
        F.max("batch_id").alias("last"),
        F.max_by("generation", "batch_id").alias("generation"),
        F.min("started_at").alias("began"),
    ).collect()
    offsets = _highest(rows)
    in_lake = offsets_in_lake(lake, offsets)
    if not rows:
        return Start(offsets, in_lake=in_lake)
    last = max(rows, key=lambda row: row["last"])
    return Start(
        offsets,
        newest=f"{last['generation']}:{last['last']}",
        first_batch_id=last["last"] + 1,
        began_at=min(row["began"].replace(tzinfo=UTC) for row in rows),
        in_lake=in_lake,
    )


def booked_offsets(lake: Lake) -> Offsets:
    """Next offset per topic-partition according to the book."""
    return _next_offsets(lake.read(batches.TABLE), F.max("to_offset"))


def offsets_in_lake(lake: Lake, booked: Offsets) -> Offsets:
    """Next offset per topic-partition that neither the book nor bronze, silver or quarantine has; more than
    `booked` where a batch was interrupted between its writes."""
    is_beyond = ~is_before(booked)
    held = [
        lake.read(table).where(is_beyond).select(*COORDINATES)
        for table in (bronze_events.TABLE, silver_events.TABLE, quarantine.TABLE)
    ]
    return _next_offsets(reduce(DataFrame.union, held), F.max("offset") + 1, booked)


def _next_offsets(frame: DataFrame, next_offset: Column, known: Offsets | None = None) -> Offsets:
    return _highest(frame.groupBy("topic", "partition").agg(next_offset.alias("next_offset")).collect(), known)


def _highest(rows: Iterable[Row], known: Offsets | None = None) -> Offsets:
    """The highest `next_offset` per topic-partition of `rows` and of `known`."""
    found = {topic: dict(partitions) for topic, partitions in (known or {}).items()}
    for row in rows:
        partitions, partition = found.setdefault(row["topic"], {}), str(row["partition"])
        partitions[partition] = max(row["next_offset"], partitions.get(partition, 0))
    return found


def is_before(offsets: Offsets) -> Column:
    """True for a record whose offset is below the given one of its topic-partition."""
    return clock.any_of(
        [
            (F.col("topic") == topic) & (F.col("partition") == int(partition)) & (F.col("offset") < offset)
            for topic, partitions in offsets.items()
            for partition, offset in partitions.items()
        ]
    )


def held_beyond(lake: Lake, table: Table, booked: Offsets) -> pa.Table:
    """Coordinates of the records in `table` from a batch that was interrupted before it was booked."""
    return lake.read(table).where(~is_before(booked)).select(*COORDINATES).toArrow()


def written_beyond(lake: Lake, booked: Offsets) -> pa.Table:
    """Ids, times and coordinates of the events in silver from a batch that was interrupted before it was booked."""
    silver = lake.read(silver_events.TABLE).where(~is_before(booked))
    return silver.select("event_id", "event_time", "processed_at", *COORDINATES).toArrow()


def accepted_since(lake: Lake, reader: SqlReader, booked: Offsets, now: datetime) -> pa.RecordBatchReader | None:
    """Booked events of silver that make up the fold: those of its window, and those whose ids may come again. None if
    there are none.

    Only files of these days, or written recently, are read, so that a long history costs nothing.
    """
    since = now - timedelta(hours=lake.settings.dedupe_hours)
    frontier = min(frontier_at(now), since)
    files = silver_files(
        lake, reader, lambda file: file.written_at >= since or (file.partition[0] or "") >= str(frontier.date())
    )
    if files is None or not booked:
        return None
    is_booked = " OR ".join(
        f'(topic = {quoted_text(topic)} AND "partition" = {partition} AND "offset" < {offset})'
        for topic, partitions in booked.items()
        for partition, offset in partitions.items()
    )
    is_new = f"event_time >= TIMESTAMPTZ '{utc_text(frontier)}' OR processed_at >= TIMESTAMPTZ '{utc_text(since)}'"
    return reader.batches(
        f"SELECT {', '.join(OF_EVENT)}, processed_at FROM {files} WHERE ({is_new}) AND ({is_booked})"  # noqa: S608 - names of this project
    )


def silver_files(lake: Lake, reader: SqlReader, is_wanted: Callable[[DataFile], bool]) -> str | None:
    """Some files of silver.events as a table of DuckDB; None if there are none."""
    found = snapshot(s3_client(lake.settings), lake.settings.bucket, silver_events.TABLE)
    files = [path for path, file in (found.live if found else {}).items() if is_wanted(file)]
    listed = ", ".join(quoted_text(reader.address(silver_events.TABLE.full_name, file)) for file in files)
    return f"read_parquet([{listed}], union_by_name = true)" if files else None


def late_hours(lake: Lake, before: datetime) -> set[int]:
    """Hours before `before` whose gold may be older than silver, or that never became final.

    The book says when no hour had been waiting for long: everything that arrived LOOK_BACK before that batch was done.
    With late events in every batch some hour always waits, but none for long.
    """
    book = lake.read(batches.TABLE)
    settled = book.where(~F.col("late_pending")).agg(F.max("committed_at").alias("settled"))
    is_done = F.col("committed_at") < F.col("settled") - F.expr(LOOK_BACK)
    done = book.join(F.broadcast(settled), how="cross").where(is_done)
    is_open = ~is_before(_next_offsets(done, F.max("to_offset"))) & (F.col("event_time") < F.lit(before))
    late = lake.read(silver_events.TABLE).where(is_open).select(clock.hour_number().alias("hour"))
    is_provisional = (F.col("status") == "provisional") & (F.col("hour_start") < F.lit(before))
    provisional = lake.read(top_products.HOURLY).where(is_provisional)
    unfinished = provisional.select(clock.hour_number("hour_start").alias("hour"))
    return {row["hour"] for row in late.union(unfinished).distinct().collect()}
