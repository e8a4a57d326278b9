"""The ledger: Kafka ↔ bronze ↔ silver + duplicates + quarantined ↔ gold, per topic-partition and hour.

Every record is looked for, not only counted: a record of bronze is in silver, or in quarantine, or its event is in
silver by another record (a duplicate). Only what the stream's book says is done is judged, so that the stream may go
on meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lakehouse.broker import Offsets
from lakehouse.sql import SqlReader, utc_text

KINDS = ("bronze", "silver", "duplicates", "quarantined")
GOLD_ATTEMPTS = 8
GOLD_PAUSE_SECONDS = 5.0
"""Gold of older hours follows some seconds after silver."""


@dataclass(frozen=True)
class Fault:
    """A place that does not balance."""

    place: str
    what: str

    def __str__(self) -> str:
        """The place and what is wrong there, as one sentence."""
        return f"{self.place}: {self.what}"


@dataclass
class Ledger:
    """What was reconciled. `through` is the newest batch that was looked at (UTC), None without a new one."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    through: datetime | None = None
    partitions: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    gold_hours: int = 0


_RANGES = """
SELECT topic, "partition", min(from_offset) AS first, max(to_offset) AS "end", sum(bronze_rows) AS bronze_rows,
    sum(to_offset - from_offset) AS offsets, max(committed_at) AS newest
FROM ops.batches WHERE committed_at > TIMESTAMPTZ '{since}' GROUP BY ALL ORDER BY ALL
"""
_BATCHES = """
SELECT topic, "partition", from_offset, lag(to_offset) OVER (PARTITION BY topic, "partition" ORDER BY from_offset)
    AS before FROM ops.batches QUALIFY from_offset <> before ORDER BY topic, "partition", from_offset
"""
_RECORDS = """
WITH places AS (SELECT * FROM (VALUES {ranges}) AS given(topic, "partition", first, "end")),
kept AS (SELECT topic, "partition", "offset", date_trunc('hour', kafka_timestamp) AS hour
    FROM bronze.events SEMI JOIN places ON bronze.events.topic = places.topic
        AND bronze.events."partition" = places."partition" AND "offset" >= first AND "offset" < "end"),
accepted AS (SELECT topic, "partition", "offset" FROM silver.events SEMI JOIN places
    ON silver.events.topic = places.topic AND silver.events."partition" = places."partition"
        AND "offset" >= first AND "offset" < "end"),
refused AS (SELECT topic, "partition", "offset" FROM silver.quarantine SEMI JOIN places
    ON silver.quarantine.topic = places.topic AND silver.quarantine."partition" = places."partition"
        AND "offset" >= first AND "offset" < "end"),
counted AS (
    SELECT topic, "partition", "offset", max(hour) AS hour, sum(in_bronze) AS in_bronze, sum(in_silver) AS in_silver,
        sum(in_quarantine) AS in_quarantine
    FROM (SELECT *, 1 AS in_bronze, 0 AS in_silver, 0 AS in_quarantine FROM kept
        UNION ALL BY NAME SELECT *, 0 AS in_bronze, 1 AS in_silver, 0 AS in_quarantine FROM accepted
        UNION ALL BY NAME SELECT *, 0 AS in_bronze, 0 AS in_silver, 1 AS in_quarantine FROM refused) GROUP BY ALL),
judged AS (
    SELECT *, CASE WHEN in_bronze = 0 THEN 'foreign' WHEN in_bronze > 1 THEN 'doubled'
        WHEN in_silver + in_quarantine > 1 THEN 'twice' WHEN in_silver = 1 THEN 'silver'
        WHEN in_quarantine = 1 THEN 'quarantined' ELSE 'rest' END AS fate FROM counted)
"""
_FATES = (
    _RECORDS
    + """
SELECT topic, "partition", hour, fate, count(*) AS records, min("offset") AS first FROM judged GROUP BY ALL
ORDER BY topic, "partition", first
"""
)
_REST = """,
rest AS (SELECT judged.*, try(decode(value)) AS text FROM judged
    JOIN bronze.events USING (topic, "partition", "offset") WHERE fate = 'rest'),
named AS (SELECT *, CASE WHEN json_valid(text) THEN json_extract_string(text, '$.event_id') END AS event_id FROM rest)
SELECT topic, "partition", hour, count(*) AS records, min("offset") AS first FROM named ANTI JOIN silver.events
USING (event_id) GROUP BY ALL ORDER BY topic, "partition", first
"""
_LOST = _RECORDS + _REST
_GOLD = """
WITH silver_hours AS (SELECT date_trunc('hour', event_time) AS hour, count(*) FILTER (event_type IN
        ('page_view', 'click', 'add_to_cart', 'purchase', 'search')) AS events FROM silver.events
    WHERE event_date IN (SELECT DISTINCT event_date FROM silver.events WHERE processed_at > TIMESTAMPTZ '{since}')
    GROUP BY 1)
SELECT hour, events, page_views + clicks + carts + purchases + searches AS counted
FROM silver_hours LEFT JOIN gold.kpis_hourly ON hour_start = hour
WHERE hour < date_trunc('hour', now()) ORDER BY hour
"""
_SAID = {
    "foreign": "in silver or quarantine, but not in bronze",
    "doubled": "more than once in bronze",
    "twice": "more than once in silver and quarantine",
}


def reconcile(reader: SqlReader, ends: Callable[[], Offsets], since: datetime | None) -> Ledger:
    """Compare the layers from the first batch after `since` (None: from the beginning) to the newest in the book.

    `ends` asks the broker where its partitions end. The faults are in the order of topics, partitions and offsets.
    """
    mark = utc_text(since or datetime.fromtimestamp(0, UTC))
    ledger = Ledger()
    ranges = reader.query(_RANGES.format(since=mark))
    ledger.partitions = len(ranges)
    ledger.through = max((row["newest"] for row in ranges), default=None)
    ledger.faults += _offset_faults(reader, ranges, ends())
    if ranges:
        _compare_records(reader, ledger, ranges)
        ledger.faults += _gold_faults(reader, ledger, mark)
    return ledger


def _offset_faults(reader: SqlReader, ranges: list[dict[str, Any]], end: Offsets) -> Iterator[Fault]:
    """Batches that do not follow each other, or reach beyond the broker."""
    for row in reader.query(_BATCHES):
        if row["from_offset"] < row["before"]:
            yield Fault(_place(row), f"offsets from {row['from_offset']} on were read twice, up to {row['before']}")
    for row in ranges:
        known = end.get(row["topic"], {}).get(str(row["partition"]))
        if known is not None and row["end"] > known:
            yield Fault(_place(row), f"the book is at offset {row['end']}, Kafka ends at {known}")


def _compare_records(reader: SqlReader, ledger: Ledger, ranges: list[dict[str, Any]]) -> None:
    listed = ", ".join(f"('{row['topic']}', {row['partition']}, {row['first']}, {row['end']})" for row in ranges)
    found = reader.query(_FATES.format(ranges=listed))
    in_bronze: dict[tuple[str, int], int] = {}
    for row in found:
        if row["fate"] in _SAID:
            ledger.faults.append(
                Fault(_place(row), f"{row['records']} records from offset {row['first']} on are {_SAID[row['fate']]}")
            )
            continue
        ledger.rows["duplicates" if row["fate"] == "rest" else row["fate"]] += row["records"]
        ledger.rows["bronze"] += row["records"]
        place = (row["topic"], row["partition"])
        in_bronze[place] = in_bronze.get(place, 0) + row["records"]
    for row in ranges:
        kept = in_bronze.get((row["topic"], row["partition"]), 0)
        if kept != row["bronze_rows"]:
            ledger.faults.append(Fault(_place(row), f"bronze has {kept} records, the book {row['bronze_rows']}"))
        if row["offsets"] != row["bronze_rows"]:
            empty = row["offsets"] - row["bronze_rows"]
            ledger.notes.append(f"{_place(row)}: {empty} offsets hold no record (transactions, compaction)")
    for row in reader.query(_LOST.format(ranges=listed)):
        lost = f"{row['records']} records from offset {row['first']} on"
        ledger.faults.append(Fault(_place(row), f"{lost} are in neither silver nor quarantine, and no duplicates"))


def _gold_faults(reader: SqlReader, ledger: Ledger, mark: str) -> list[Fault]:
    """Hours that have ended and whose total differs from silver's, also after a while."""
    unequal: list[dict[str, Any]] = []
    for attempt in range(GOLD_ATTEMPTS):
        if attempt:
            time.sleep(GOLD_PAUSE_SECONDS)
        hours = reader.query(_GOLD.format(since=mark))
        unequal = [row for row in hours if row["events"] != row["counted"] and (row["events"] or row["counted"])]
        ledger.gold_hours = len(hours)
        if not unequal:
            return []
    return [
        Fault(
            f"gold.kpis_hourly {row['hour']:%Y-%m-%d %H:%M}", f"counts {row['counted']} events, silver {row['events']}"
        )
        for row in unequal
    ]


def _place(row: dict[str, Any]) -> str:
    hour = f" {row['hour']:%Y-%m-%d %H:%M}" if row.get("hour") else ""
    return f"{row['topic']} partition {row['partition']}{hour}"
