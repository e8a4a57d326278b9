"""ops.unknown_fields: fields that producers send and the contract does not know, found in `silver.events.extra`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from pyspark.sql.types import LongType, StringType, StructType, TimestampType

from lakehouse.lake import Lake
from lakehouse.ops import marks
from lakehouse.sql_text import quoted_text, utc_text
from lakehouse.table import Table, column

if TYPE_CHECKING:
    from lakehouse.sql import SqlReader

TABLE = Table(
    layer="ops",
    name="unknown_fields",
    grain="one unknown field of one event type on one topic",
    schema=StructType(
        [
            column("topic", StringType(), "Kafka topic"),
            column("event_type", StringType(), "Event type"),
            column(
                "path",
                StringType(),
                "Where the field stands in the event, cut after 200 characters; `(others)`: those after the 200th",
            ),
            column("first_seen", TimestampType(), "When the first event with it was processed, UTC"),
            column("last_seen", TimestampType(), "When the last one was, UTC"),
            column("count", LongType(), "Events that had it"),
            column("sample", StringType(), "A value, as JSON, cut after 200 characters"),
        ]
    ),
    keys=("topic", "event_type", "path"),
    writer="delta-rs",
    rows="replaced",
)
MARK = "unknown_fields"
MOST = 200
"""Fields of an event type on a topic that have a row each; a sender that uses data as names has no end of them."""
OTHERS = "(others)"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_FOUND = """
WITH events AS (SELECT topic, event_type, processed_at, extra::JSON AS extra FROM {source}
    WHERE extra IS NOT NULL AND processed_at > TIMESTAMPTZ '{since}' AND processed_at <= TIMESTAMPTZ '{until}'),
places AS (SELECT *, '' AS place, extra AS fields FROM events
    UNION ALL SELECT *, 'context.' AS place, extra -> 'context' AS fields FROM events
    UNION ALL SELECT *, 'data.' AS place, extra -> 'data' AS fields FROM events),
found AS (SELECT topic, event_type, processed_at, place, unnest(json_keys(fields)) AS key,
    unnest(fields -> '$.*') AS value FROM places)
SELECT topic, event_type, left(place || key, 200) AS path, min(processed_at) AS first_seen,
    max(processed_at) AS last_seen, count(*) AS count, arg_min(left(value::VARCHAR, 200), processed_at) AS sample
FROM found WHERE place <> '' OR key NOT IN ('context', 'data') GROUP BY ALL
"""
_MERGED = f"""
WITH seen AS (FROM known UNION ALL BY NAME FROM fresh),
places AS (SELECT topic, event_type, path, row_number() OVER (PARTITION BY topic, event_type
    ORDER BY path = '{OTHERS}', min(first_seen), path) AS place FROM seen
    GROUP BY topic, event_type, path)
SELECT topic, event_type, if(place > {MOST}, '{OTHERS}', path) AS path, min(first_seen) AS first_seen,
    max(last_seen) AS last_seen, sum(count)::BIGINT AS count, arg_min(sample, first_seen) AS sample
FROM seen JOIN places USING (topic, event_type, path) GROUP BY ALL
"""  # noqa: S608 - the names are declared in this project


def update(lake: Lake, reader: SqlReader) -> int:
    """Take in the events accepted since the last time; the number of fields that are known now."""
    newest = reader.query("SELECT max(started_at) AS newest FROM ops.batches")[0]["newest"]
    known, mark = lake.small.read(TABLE), marks.current(lake, MARK, "")
    if newest is None or (mark is not None and newest <= mark):
        return int(known.num_rows)
    source = f"delta_scan({quoted_text(reader.address('silver.events'))})"
    fresh = reader.arrow(found_in(source, counted_until(known, mark), newest))
    if fresh.num_rows:
        known = merged(known, fresh)
        lake.small.overwrite(TABLE, known, lake.mark)
    marks.move(lake, MARK, "", newest)
    return int(known.num_rows)


def found_in(source: str, since: datetime, until: datetime) -> str:
    """The query for rows of TABLE of the silver events in `source` that were processed between two moments."""
    return _FOUND.format(source=source, since=utc_text(since), until=utc_text(until))


def counted_until(known: pa.Table, mark: datetime | None) -> datetime:
    """Until when events are counted: further than the mark, when a run died between the table and its mark."""
    seen: list[datetime] = known.column("last_seen").to_pylist()
    return max([*seen, mark or _BEGINNING])


def merged(known: pa.Table, fresh: pa.Table) -> pa.Table:
    """One row per field, in the order of their coming, until there are MOST; the rest are one row."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("known", known)
        connection.register("fresh", fresh)
        return connection.execute(_MERGED).to_arrow_table()
