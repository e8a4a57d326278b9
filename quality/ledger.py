"""The ledger: Kafka ↔ bronze ↔ silver + duplicates + quarantined ↔ gold, per topic-partition and hour.

The last step, gold ↔ serving file, is in lakehouse/serving/ledger.py.

Every record is looked for, not only counted: a record of bronze is in silver, or in quarantine, or its event is in
silver by another record (a duplicate). One that was erased for a person who is forgotten (ops.erased_records) counts as
what it was. Only what the stream's book says is done is judged, so that the stream may go
on meanwhile.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lakehouse.broker import Offsets, Span
from lakehouse.hours import number_of, sql_on_days
from lakehouse.sql_text import utc_text
from quality.declaration import Ask

_OF_BOOK = ("silver", "duplicates", "quarantined")
BOOKED = ("bronze", *_OF_BOOK)
"""What the book counts."""
KINDS = (*BOOKED, "erased")
LONGEST_WAIT = timedelta(days=1)
GOLD_ATTEMPTS = 8
GOLD_PAUSE_SECONDS = 5.0
"""Gold of older hours follows some seconds after silver."""
MOST_GAPS = 1_000
"""So many gaps between records of bronze are looked up in Kafka, the newest first: a look takes milliseconds."""
Held = Callable[[list[Span]], dict[Span, int | None]]
_REACH = timedelta(days=8)
_FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class Fault:
    """A place that does not balance."""

    place: str
    what: str
    at: tuple[str, int, int] = ("", 0, 0)
    """Topic, partition and offset where it begins, by which those of records are ordered."""

    def __str__(self) -> str:
        """The place and what is wrong there, as one sentence."""
        return f"{self.place}: {self.what}"


@dataclass
class Ledger:
    """What was reconciled. `faults` go the way of the data: those of records by topic, partition and offset, then
    those of gold by topic and hour. `through` is the newest batch that was looked at (UTC), None without a new one."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    through: datetime | None = None
    partitions: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    gold_hours: int = 0
    waiting: int = 0
    """Totals of gold that differ and wait for their recompute."""
    days: list[date] = field(default_factory=list)
    """Days of gold that the new batches touched."""


_RANGES = """
SELECT topic, "partition", min(from_offset) AS first, max(to_offset) AS "end", sum(bronze_rows) AS bronze_rows,
    sum(silver_rows) AS silver, sum(duplicate_rows) AS duplicates, sum(quarantined_rows) AS quarantined,
    sum(to_offset - from_offset) AS offsets, max(committed_at) AS newest, min(started_at) AS oldest
FROM ops.batches WHERE committed_at > TIMESTAMPTZ '{since}' GROUP BY ALL ORDER BY ALL
"""
_BEGINNINGS = 'SELECT topic, "partition", min(from_offset) AS first FROM ops.batches GROUP BY ALL ORDER BY ALL'
_BATCHES = """
SELECT topic, "partition", from_offset, lag(to_offset) OVER (PARTITION BY topic, "partition" ORDER BY from_offset)
    AS before FROM ops.batches QUALIFY from_offset <> before ORDER BY topic, "partition", from_offset
"""
_RECORDS = """
WITH places AS (SELECT * FROM (VALUES {ranges}) AS given(topic, "partition", first, "end")),
kept AS (SELECT topic, "partition", "offset", date_trunc('hour', kafka_timestamp) AS hour, 'bronze' AS layer
    FROM bronze.events JOIN places USING (topic, "partition")
    WHERE "offset" >= first AND "offset" < "end" AND ingest_date >= DATE '{day}'),
accepted AS (SELECT topic, "partition", "offset", 'silver' AS layer FROM silver.events
    JOIN places USING (topic, "partition")
    WHERE "offset" >= first AND "offset" < "end" AND processed_at >= TIMESTAMPTZ '{day}'),
refused AS (SELECT topic, "partition", "offset", 'refused' AS layer FROM silver.quarantine
    JOIN places USING (topic, "partition")
    WHERE "offset" >= first AND "offset" < "end" AND ingest_date >= DATE '{day}'),
erased AS (SELECT topic, "partition", "offset", was FROM ops.erased_records
    JOIN places USING (topic, "partition") WHERE "offset" >= first AND "offset" < "end"),
counted AS (
    SELECT topic, "partition", "offset", max(hour) AS hour, max(was) AS was, count(*) FILTER (layer = 'bronze') AS
        in_bronze, count(*) FILTER (layer = 'silver') AS in_silver, count(*) FILTER (layer = 'refused') AS in_quarantine
    FROM (FROM kept UNION ALL BY NAME FROM accepted UNION ALL BY NAME FROM refused UNION ALL BY NAME FROM erased)
    GROUP BY ALL)
"""
_FATES = f"""{_RECORDS},
judged AS (
    SELECT *, CASE WHEN was IS NOT NULL THEN 'erased' WHEN in_bronze = 0 THEN 'foreign'
        WHEN in_bronze > 1 THEN 'doubled' WHEN in_silver + in_quarantine > 1 THEN 'twice'
        WHEN in_silver = 1 THEN 'silver' WHEN in_quarantine = 1 THEN 'quarantined' ELSE 'rest' END AS fate
    FROM counted),
rest AS (SELECT judged.*, try(decode(value)) AS text FROM judged
    JOIN bronze.events USING (topic, "partition", "offset") WHERE fate = 'rest' AND ingest_date >= DATE '{{day}}'),
named AS (SELECT *, CASE WHEN json_valid(text) THEN json_extract_string(text, '$.event_id') END AS event_id FROM rest),
lost AS (SELECT topic, "partition", "offset", true AS is_lost FROM named ANTI JOIN silver.events USING (event_id)),
told AS (SELECT * REPLACE (CASE WHEN fate <> 'rest' THEN fate WHEN is_lost THEN 'lost' ELSE 'duplicates' END AS fate)
    FROM judged LEFT JOIN lost USING (topic, "partition", "offset"))
SELECT topic, "partition", hour, fate, was, count(*) AS records, min("offset") AS first,
    count(*) FILTER (in_bronze + in_silver + in_quarantine > 0) AS present FROM told GROUP BY ALL
ORDER BY topic, "partition", first
"""  # noqa: S608 - the text is declared in this project
_GAPS = f"""{_RECORDS},
edges AS (SELECT topic, "partition", "offset" FROM kept UNION SELECT topic, "partition", "offset" FROM erased
    UNION ALL SELECT topic, "partition", unnest([first - 1, "end"]) FROM places)
SELECT topic, "partition", "offset" + 1 AS first, lead("offset") OVER (PARTITION BY topic, "partition"
    ORDER BY "offset") AS "end" FROM edges QUALIFY "end" > first ORDER BY first DESC LIMIT {MOST_GAPS}
"""  # noqa: S608 - the text is declared in this project
TOTALS = """
SELECT hour_start::TIMESTAMPTZ AS hour, updated_at::TIMESTAMPTZ AS updated_at,
    unnest(['shop.page_views', 'shop.clicks', 'shop.purchases', 'shop.searches']) AS topic,
    unnest([page_views + product_views, clicks + carts, purchases, searches]) AS counted
FROM {table} WHERE {on_days}
"""
"""What gold counts by hour and topic: page views that are views of a product count twice. Moments of the serving file
are plain; these have a zone."""
_DAYS = """
SELECT DISTINCT event_date AS day FROM silver.events WHERE processed_at > TIMESTAMPTZ '{since}' ORDER BY day
"""
_GOLD = """
WITH accepted AS (SELECT date_trunc('hour', event_time) AS hour, topic, count(*) FILTER (event_type IN
        ('page_view', 'click', 'add_to_cart', 'purchase', 'search')) + count(*) FILTER (event_type = 'product_view'
            OR event_type = 'page_view' AND product_id IS NOT NULL) AS events
    FROM silver.events WHERE {on_event_days} GROUP BY 1, 2),
totals AS ({totals})
SELECT hour, topic, coalesce(events, 0) AS events, coalesce(counted, 0) AS counted
FROM accepted FULL JOIN totals USING (hour, topic)
WHERE hour < date_trunc('hour', now()) ORDER BY topic, hour
""".replace("{totals}", TOTALS.replace("{table}", "gold.kpis_hourly"))
_SAID = {
    "foreign": "in silver or quarantine, but not in bronze",
    "doubled": "more than once in bronze",
    "twice": "more than once in silver and quarantine",
    "lost": "in neither silver nor quarantine, and no duplicates",
}


def reconcile(
    ask: Ask,
    bounds: Callable[[], tuple[Offsets, Offsets]],
    since: datetime | None,
    reach: timedelta = _REACH,
    held: Held = lambda _: {},
    waiting: Callable[[], Collection[int]] = tuple,
) -> Ledger:
    """Compare the layers from the first batch after `since` (None: from the beginning) to the newest in the book.

    `bounds` asks the broker for the first offsets that it has and the next that it will give, `held` for the first
    record that it holds in some spans (`lakehouse.broker.first_held`): offsets without a record in the lake are no loss
    where Kafka holds none either. `waiting` names the clock hours (since the epoch) that the stream has yet to
    recompute: there gold may differ, and the next run begins where this one did, for a day at most.
    A batch that was cut off may have written its records `reach` before it was done again, at most: as long as Kafka
    keeps them.
    """
    mark = utc_text(since or datetime.fromtimestamp(0, UTC))
    ledger = Ledger()
    ranges = ask(_RANGES.format(since=mark))
    ledger.partitions = len(ranges)
    ledger.through = max((row["newest"] for row in ranges), default=None)
    begin, end = bounds()
    ledger.faults += _offset_faults(ask, ranges, begin, end, held)
    if ranges:
        first_day = min(row["oldest"] for row in ranges).date() - reach if since else _FIRST_DAY
        _compare_records(ask, ledger, ranges, first_day)
        ledger.faults += _unread(ask, ranges, first_day, held)
    ledger.faults.sort(key=lambda fault: fault.at)  # each look found its own; the first of all is to be named
    if ranges:
        ledger.days = [row["day"] for row in ask(_DAYS.format(since=mark))]
        ledger.faults += _gold_faults(ask, ledger, waiting)
        if ledger.waiting and since and datetime.now(UTC) - since < LONGEST_WAIT:
            ledger.through = None
    return ledger


def _offset_faults(ask: Ask, ranges: list[dict[str, Any]], begin: Offsets, end: Offsets, held: Held) -> Iterator[Fault]:
    """Batches that do not follow each other, begin behind the broker's beginning, or reach beyond its end.

    Where a batch ends the next begins, also over offsets without a record: a hole is a batch that is not in the book,
    unless Kafka holds no record there (until 0.1.0 a batch ended with its last record).
    """
    for row in ask(_BEGINNINGS):
        oldest = begin.get(row["topic"], {}).get(str(row["partition"]))
        if oldest is not None and row["first"] > oldest:
            yield _fault(row, oldest, f"the book begins at offset {row['first']}, Kafka at {oldest}")
    uneven = ask(_BATCHES)
    holes = [Span(row["topic"], row["partition"], row["before"], row["from_offset"]) for row in uneven]
    first_in = held([hole for hole in holes if hole.first < hole.end]) if holes else {}
    for row, hole in zip(uneven, holes, strict=True):
        begins, before = row["from_offset"], row["before"]
        if begins < before:
            yield _fault(row, begins, f"offsets from {begins} on were read twice, up to {before}")
        elif first_in.get(hole, before) is not None:
            yield _fault(row, before, f"offsets from {before} to {begins - 1} are in no batch")
    for row in ranges:
        known = end.get(row["topic"], {}).get(str(row["partition"]))
        if known is not None and row["end"] > known:
            yield _fault(row, known, f"the book is at offset {row['end']}, Kafka ends at {known}")


def _compare_records(ask: Ask, ledger: Ledger, ranges: list[dict[str, Any]], first_day: date) -> None:
    found: defaultdict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for row in ask(_looking_at(_FATES, ranges, first_day)):
        counted, fate, records = found[row["topic"], row["partition"]], row["fate"], row["records"]
        if fate != "foreign":
            counted["bronze"] += records
        if said := _SAID.get(fate):
            what = f"{records} records from offset {row['first']} on are {said}"
            ledger.faults.append(_fault(row, row["first"], what))
            continue
        ledger.rows[fate] += records
        ledger.rows["bronze"] += records
        counted[row["was"] or fate] += records
        if row["was"] and row["present"]:
            ledger.notes.append(f"{_place(row)}: {row['present']} records are to be erased and still there")
    for row in ranges:
        counted = found[row["topic"], row["partition"]]
        if counted["bronze"] != row["bronze_rows"]:
            # A sum says less than a record that is named: it comes behind those of its partition.
            what = f"bronze has {counted['bronze']} records, the book {row['bronze_rows']}"
            ledger.faults.append(_fault(row, row["end"], what))
        if empty := row["offsets"] - row["bronze_rows"]:
            ledger.notes.append(f"{_place(row)}: {empty} offsets hold no record (transactions, compaction)")
        if other := [f"{counted[one]} {one}, the book {row[one]}" for one in _OF_BOOK if counted[one] != row[one]]:
            why = "rebuilt since with other rules, or a wrong book"
            ledger.notes.append(f"{_place(row)}: {'; '.join(other)} ({why})")


def _unread(ask: Ask, ranges: list[dict[str, Any]], first_day: date, held: Held) -> Iterator[Fault]:
    """Records that Kafka holds at offsets which the book has, but bronze has nothing of. Looked for only where
    there are more offsets than records."""
    wide = [row for row in ranges if row["end"] - row["first"] != row["bronze_rows"]]
    if not wide:
        return
    gaps = [Span(**row) for row in ask(_looking_at(_GAPS, wide, first_day))]
    for gap, offset in held(gaps).items():
        if offset is not None:
            yield _fault(gap._asdict(), offset, f"Kafka holds a record at offset {offset}, which bronze does not have")


def _looking_at(sql: str, ranges: list[dict[str, Any]], first_day: date) -> str:
    """A query over `_RECORDS`, of these ranges of offsets."""
    listed = ", ".join(f"('{row['topic']}', {row['partition']}, {row['first']}, {row['end']})" for row in ranges)
    return sql.format(ranges=listed, day=first_day)


def _gold_faults(ask: Ask, ledger: Ledger, waiting: Callable[[], Collection[int]]) -> list[Fault]:
    """Hours that have ended and whose total differs from silver's, also after a while; where a fault is known already,
    nobody is kept waiting."""
    unequal: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    attempts = 1 if ledger.faults else GOLD_ATTEMPTS
    for attempt in range(attempts if ledger.days else 0):
        if attempt:
            time.sleep(GOLD_PAUSE_SECONDS)
        expected = set(waiting())
        hours = ask(
            _GOLD.format(
                on_days=sql_on_days("hour_date", ledger.days), on_event_days=sql_on_days("event_date", ledger.days)
            )
        )
        different = [row for row in hours if row["events"] != row["counted"]]
        late = [row for row in different if number_of(row["hour"]) in expected]
        unequal = [row for row in different if number_of(row["hour"]) not in expected]
        ledger.gold_hours = len({row["hour"] for row in hours})
        if not unequal:
            break
    if late:
        ledger.waiting = len(late)
        ledger.notes.append(f"{len(late)} totals of gold wait for a recompute, since late events came")
    return [
        Fault(hour_place(row), f"gold.kpis_hourly counts {row['counted']}, silver {row['events']}") for row in unequal
    ]


def _fault(row: dict[str, Any], offset: int, what: str) -> Fault:
    return Fault(_place(row), what, (row["topic"], row["partition"], offset))


def hour_place(row: Mapping[str, Any]) -> str:
    """A topic's hour, as faults name it."""
    return f"{row['topic']} {row['hour']:%Y-%m-%d %H:%M}"


def _place(row: dict[str, Any]) -> str:
    hour = f" {row['hour']:%Y-%m-%d %H:%M}" if row.get("hour") else ""
    return f"{row['topic']} partition {row['partition']}{hour}"
