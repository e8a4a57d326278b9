"""The way of records through the lake: how each came, what became of it, which hours of gold and which flags its event
counts in, and whether a publish shows them.

Bronze, silver and quarantine are the lake's own, gold is what was published last.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import duckdb
from pydantic import BaseModel, Field

from gold.fraud_measures import CIRCLE_SQL
from lakehouse.errors import UsageError
from lakehouse.raw_records import Place, carries, field_of, place_in
from lakehouse.serving.figures import EVENT_COLUMNS, WAYS, NothingThereError, newest_batch
from lakehouse.serving.newest import Publish, rows_of
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_name, quoted_text, utc_text
from silver.events import DUCKDB_TYPES

Row = dict[str, Any]
THREADS = 8
"""A trace looks into many small files, and waits for S3 more than it works."""
Fate = Literal["accepted", "duplicate", "refused", "under_way", "lost"]
SAID: dict[Fate, str] = {
    "accepted": "accepted",
    "duplicate": "a duplicate",
    "refused": "refused",
    "under_way": "under way: the stream is at its batch",
    "lost": "in bronze and nowhere else: `shoplake reconcile` names such records",
}


class CountsIn(BaseModel):
    """A row of hourly gold that an event counts in."""

    table: str
    hour_start: datetime
    row: dict[str, str | int] = Field(description="What tells the row apart from others of the hour.")
    columns: list[str] = Field(description="The numbers that the event counts in.")
    published_at: datetime | None = Field(
        description="When the publish was made that shows it; null: the row as published is older than the event."
    )


class Flag(BaseModel):
    """A published fraud flag that rests on an event."""

    flag_id: str
    rule_id: str
    severity: str
    reason: str
    detected_at: datetime
    published_at: datetime


class Event(BaseModel):
    """An accepted event."""

    event_type: str
    event_time: datetime
    user_id: str
    counts_in: list[CountsIn]
    flags: list[Flag]


class TracedRecord(BaseModel):
    """A record, and what became of it."""

    at: str = Field(description="topic-partition-offset.")
    kafka_timestamp: datetime | None
    key: str | None
    ingested_at: datetime = Field(description="When the micro-batch began that brought it into bronze.")
    event_id: str | None = Field(description="As the record says it; null where it is no JSON.")
    fate: Fate
    duplicate_of: str | None = Field(None, description="The accepted record of the same event.")
    reason_code: str | None = Field(None, description="Why it was refused.")
    reason_detail: str | None = None
    status: str | None = Field(None, description="Of a refused record: open or resolved.")
    resolved_by: str | None = Field(None, description="The run that sent it again.")
    event: Event | None = Field(None, description="Of an accepted record.")


class Trace(BaseModel):
    """Records, in the order in which they came."""

    records: list[TracedRecord]


_RECORD = f"""
SELECT topic, "partition", "offset", kafka_timestamp, {{at}} AS ingested_at, decode(key, 'replace') AS key,
    {field_of("event_id")} AS event_id, try_cast({field_of("timestamp")} AS TIMESTAMPTZ) AS event_time"""
_BRONZE = _RECORD.format(at="ingested_at") + " FROM bronze.events WHERE "
_REFUSED = _RECORD.format(at="quarantined_at") + (
    ", reason_code, reason_detail, status, resolved_by FROM silver.quarantine WHERE "
)
_ACCEPTED = f"SELECT {', '.join(map(quoted_name, EVENT_COLUMNS))} FROM silver.events WHERE "  # noqa: S608 - names are ours
_RESTS_ON = "event_date BETWEEN ? AND ? AND list_contains(evidence, ?) ORDER BY detected_at, flag_id"
_LONGEST_FLAG = timedelta(days=2)
"""A flag is raised within the context of its rule, some hours, after each event that it rests on."""


class Tracer:
    """Traces records of one lake."""

    def __init__(self, settings: Settings, reader: SqlReader, publish: Publish | None) -> None:
        """`publish`: what readers see; None while nothing is published."""
        self._settings, self._reader, self._publish = settings, reader, publish
        self._judge = duckdb.connect(config={"threads": 1})
        """Says which conditions hold for an event; it has no table."""

    def trace(
        self, event_id: str | None = None, key: str | None = None, at: str | None = None, limit: int = 20
    ) -> Trace:
        """The records that one of the first three names, of a key the newest `limit`. Raises UsageError for none or
        several at once, NothingThereError where there is none."""
        if len([given for given in (event_id, key, at) if given]) != 1:
            raise UsageError("Say one of these: an event's id, a key, or a place as topic-partition-offset.")
        found = self._look(event_id, key, at, limit)
        # Between two tables a batch may have come; what is still lost at a second look is.
        is_lost = any(record.fate == "lost" for record in found.records)
        return self._look(event_id, key, at, limit) if is_lost else found

    def _look(self, event_id: str | None, key: str | None, at: str | None, limit: int) -> Trace:
        if event_id:
            return self._of_event(event_id)
        if key:
            said = f"No record with the key {key!r} is in bronze."
            is_asked = f"key = encode({quoted_text(key)}) ORDER BY ingested_at DESC, kafka_timestamp DESC LIMIT {limit}"
        else:
            place = place_in(at or "")
            said, is_asked = f"The record {place} is not in bronze.", _are_at([place])
        found = self._bronze(is_asked)
        if not found:
            raise NothingThereError(said)
        refused = self._reader.query(f"{_REFUSED}({_are_at(map(_place, found))})")
        there = {_place(row) for row in refused}
        ids = {row["event_id"] for row in found if row["event_id"] is not None and _place(row) not in there}
        return self._traced(found, refused, self._accepted(sorted(ids)) if ids else [])

    def _of_event(self, event_id: str) -> Trace:
        """Every record that carries the event's id."""
        said = carries("event_id", event_id)
        with ThreadPoolExecutor(max_workers=1) as pool:
            refusing = pool.submit(self._reader.query, _REFUSED + said)
            accepted = self._accepted([event_id])
            refused = refusing.result()
        # A duplicate comes after the accepted record; without that, any record may be left of a lost one.
        first = min((row["processed_at"] for row in accepted), default=None)
        found = self._bronze(said if first is None else f"{said} AND {_since(first)}")
        if not found and not refused:
            raise NothingThereError(f"No record with the event_id {event_id!r} is in bronze.")
        return self._traced(found, refused, accepted)

    def _accepted(self, event_ids: list[str]) -> list[Row]:
        return self._reader.query(f"{_ACCEPTED}event_id IN ({', '.join(map(quoted_text, event_ids))})")

    def _bronze(self, condition: str) -> list[Row]:
        return self._reader.query(_BRONZE + condition)

    def _traced(self, found: list[Row], refused: list[Row], accepted: list[Row]) -> Trace:
        why = {_place(row): row for row in refused}
        events = {_place(row): row for row in accepted}
        records = {_place(row): row for row in (*refused, *found)}
        ordered = sorted(records.values(), key=lambda row: (row["ingested_at"], _place(row)))
        return Trace(records=[self._told(row, why, events) for row in ordered])

    def _told(self, row: Row, why: dict[Place, Row], events: dict[Place, Row]) -> TracedRecord:
        place = _place(row)
        more: dict[str, Any] = {}
        fate: Fate
        if (event := events.get(place)) is not None:
            fate = "accepted"
            more = {"event": Event(**event, counts_in=self._counts_in(event), flags=self._flags(event))}
        elif place in why:
            fate, more = "refused", why[place]
        elif (first := self._first_of(row, events.values())) is not None:
            fate, more = "duplicate", {"duplicate_of": str(first)}
        else:
            newest = newest_batch(self._reader, row["ingested_at"])
            fate = "under_way" if newest is None or row["ingested_at"] > newest else "lost"
        return TracedRecord(**more | row, at=str(place), fate=fate)

    def _first_of(self, row: Row, events: Iterable[Row]) -> Place | None:
        """The accepted record that a record repeats (`silver.deduplicate`): that of the same time, else the newest that
        had arrived by then."""
        before = [
            (event["event_time"] == row["event_time"], event["processed_at"], _place(event))
            for event in events
            if event["event_id"] == row["event_id"] and event["processed_at"] <= row["ingested_at"]
        ]
        return max(before)[2] if before else None

    def _counts_in(self, event: Row) -> list[CountsIn]:
        """The published rows of its hour in which it counts."""
        rows = [(name, row) for name in WAYS for row in self._rows_of_hour(name, event)]
        ways = [WAYS[name].ways(row, self._settings.currency) for name, row in rows]
        holds = iter(self._holds(event, [way.counts for of_row in ways for way in of_row.values()]))
        found = []
        for (name, row), of_row in zip(rows, ways, strict=True):
            columns = [column for column in of_row if next(holds)]
            is_shown = row["updated_at"] >= _as_stored(event["processed_at"])
            if columns:
                counted = CountsIn(
                    table=name,
                    hour_start=row["hour_start"].replace(tzinfo=UTC),
                    row={key: row[key] for key in WAYS[name].keys},
                    columns=columns,
                    published_at=row["published_at"] if is_shown else None,
                )
                found.append(counted)
        return found

    def _holds(self, event: Row, conditions: list[str]) -> list[bool]:
        """Which of the conditions hold for an event."""
        columns = ", ".join(f"?::{DUCKDB_TYPES[name]} AS {quoted_name(name)}" for name in EVENT_COLUMNS)
        asked = ", ".join(f"coalesce({condition}, false)" for condition in conditions)
        found = self._judge.execute(
            f"SELECT [{asked}] FROM (SELECT *, {CIRCLE_SQL} AS circle FROM (SELECT {columns}))",  # noqa: S608 - conditions are declared in this project, values are bound
            [event[name] for name in EVENT_COLUMNS],
        )
        return list(found.fetchall()[0][0]) if conditions else []

    def _rows_of_hour(self, table: str, event: Row) -> list[Row]:
        """The published rows of an event's hour; of products only that of its own."""
        keys = WAYS[table].keys
        asked = {"hour_start": _as_stored(event["event_time"]).replace(minute=0, second=0, microsecond=0)}
        asked |= {name: event[name] for name in keys if name == "product_id"}
        where = " AND ".join(f"{name} = ?" for name in asked)
        return rows_of(
            self._publish, table, ("hour_start", "updated_at", *keys), f"{where} ORDER BY ALL", [*asked.values()]
        )

    def _flags(self, event: Row) -> list[Flag]:
        """The published flags that rest on it."""
        names = ("flag_id", "rule_id", "severity", "reason", "detected_at")
        day = _as_stored(event["event_time"]).date()
        values = [day, day + _LONGEST_FLAG, event["event_id"]]
        rows = rows_of(self._publish, "gold.fraud_flags", names, _RESTS_ON, values)
        return [Flag(**row | {"detected_at": row["detected_at"].replace(tzinfo=UTC)}) for row in rows]


def _place(row: Row) -> Place:
    return Place(row["topic"], row["partition"], row["offset"])


def _are_at(places: Iterable[Place]) -> str:
    """The condition that a record is at one of these places. A list of alternatives would keep no file from being read;
    ranges do."""
    found = list(places)
    topics = ", ".join(quoted_text(topic) for topic in sorted({place.topic for place in found}))
    offsets = [place.offset for place in found]
    listed = ", ".join(f"({quoted_text(place.topic)}, {place.partition}, {place.offset})" for place in found)
    return (
        f'topic IN ({topics}) AND "offset" >= {min(offsets)} AND "offset" <= {max(offsets)}'
        f' AND (topic, "partition", "offset") IN ({listed})'
    )


def _since(moment: datetime) -> str:
    return f"ingest_date >= DATE '{_as_stored(moment).date()}' AND ingested_at >= TIMESTAMPTZ '{utc_text(moment)}'"


def _as_stored(moment: datetime) -> datetime:
    """A moment as published files have it: plain, in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)
