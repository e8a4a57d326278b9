"""replay_quarantine: brings refused records home, by the road that every record takes.

The kept bytes are judged again by the checks of today, after a declared fix if there is one. What is accepted is sent
to Kafka once more, and the stream takes it in: it decides about duplicates, and refreshes gold, as always. Why so:
docs/decisions/replay.md.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from operator import and_
from typing import Any, Literal, NamedTuple

from kafka.errors import KafkaError
from pydantic import AwareDatetime, BaseModel, Field, ValidationInfo, field_validator
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from bronze.events import RECORD_COLUMNS
from lakehouse import hours as clock
from lakehouse.errors import ShoplakeError
from lakehouse.jobs.merging import merge, run_name, same_in
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake, materialized
from lakehouse.ops import replays
from lakehouse.raw_records import Place, places_in
from lakehouse.settings import Settings
from lakehouse.sql import connect as open_reader
from lakehouse.stream import control as stream_control
from lakehouse.stream.progress import booked
from producer.contract import REASONS, TOPIC_OF_TYPE, declared
from producer.sender import open_producer
from silver import checks, fixes, quarantine
from silver import events as silver_events
from silver.deduplicate import COORDINATES, IDENTITY

WRITES = (quarantine.TABLE, replays.TABLE)
PATIENCE_SECONDS, SEND_SECONDS = 180.0, 60.0
_ORIGIN = ["origin", "was", "ingest_date", "events"]
"""Beside a record that is judged again: the topic it was refused on, for what reason, its partition there, and how many
events a fix has found in it."""
_CHOSEN = StructType(
    [quarantine.TABLE.schema[name] for name in (*RECORD_COLUMNS, "reason_code", "ingest_date", "quarantined_at")]
)


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Parameters of a run. Without a choice it takes every open record."""

    reason: str | None = Field(None, description="Only records refused with this reason code.")
    topic: str | None = Field(None, description="Only records of this Kafka topic.")
    from_time: AwareDatetime | None = Field(None, description="Only records refused at or after this moment.")
    to_time: AwareDatetime | None = Field(None, description="Only records refused before this moment.")
    ids: str | None = Field(None, description="Only these records: topic-partition-offset, separated by commas.")
    dry_run: bool = Field(False, description="Only say what would be accepted now.")
    fix: str | None = Field(
        None,
        description="Change the records first: rename PATH=PATH,"
        " cast PATH=text|number|number_with_comma|integer|json|timestamp [ZONE]|local ZONE, default PATH=JSON,"
        " identify, route, rekey, retime seconds|arrival, strip, decode ENCODING, nan, clean; steps separated by a"
        " semicolon.",
    )
    limit: int = Field(10_000, ge=1, le=100_000, description="Most records of one run.")

    @field_validator("ids", "fix", "reason", "topic")
    @classmethod
    def _can_be_read(cls, value: str | None, info: ValidationInfo) -> str | None:
        readers: dict[str, Callable[[str], object]] = {
            "ids": places_in,
            "fix": fixes.parse,
            "reason": partial(declared, names=REASONS),
            "topic": partial(declared, names=TOPIC_OF_TYPE.values()),
        }
        if value is not None:
            readers[str(info.field_name)](value)
        return value


class Fate(NamedTuple):
    """The outcome for one record."""

    record: Row
    outcome: Literal["accepted", "duplicate", "known"]
    place: Place | None


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Bring the chosen records into silver once each; figures of what was chosen, and what became of it."""
    if not (parameters.dry_run or stream_control.is_wanted(lake.settings)):
        raise ShoplakeError(
            "The stream is stopped, and a replay goes through it: `shoplake run stream -p action=start`."
        )
    say("Judging the chosen records again")
    limits = checks.Limits(lake.settings.max_future_minutes, lake.settings.max_age_days)
    judged = materialized(checks.judge(_fixed(lake, parameters), limits))
    refused, accepted = _counted(judged)
    records = _accepted(lake, judged, parameters.limit)
    del judged  # Spark keeps the rows as long as a variable refers to them
    figures = {
        "chosen": accepted + sum(refused.values()),
        "acceptable": accepted,
        "still_refused": sum(refused.values()),
        "still_refused_by_reason": refused,
        "dry_run": parameters.dry_run,
    }
    if parameters.dry_run:
        return figures | {"already_in_silver": sum(row["is_known"] for row in records)}
    fates = _brought_home(lake, records, say)
    say("Marking the records as resolved")
    resolved = _resolve(lake, fates, parameters.fix)
    outcomes = Counter(fate.outcome for fate in fates)
    told = {name: outcomes[name] for name in ("accepted", "duplicate", "known")}
    return figures | told | {"resolved": resolved, "left": accepted - len(fates), "run": run_name(lake)}


def chosen(lake: Lake, parameters: Parameters) -> DataFrame:
    """The open quarantine rows that the parameters choose."""
    rows = lake.read(quarantine.TABLE).where(F.col("status") == "open")
    if parameters.reason:
        rows = rows.where(F.col("reason_code") == parameters.reason)
    if parameters.topic:
        rows = rows.where(F.col("topic") == parameters.topic)
    if parameters.from_time:
        rows = rows.where(F.col("quarantined_at") >= F.lit(parameters.from_time))
    if parameters.to_time:
        rows = rows.where(F.col("quarantined_at") < F.lit(parameters.to_time))
    if parameters.ids:
        places = [place._asdict().items() for place in places_in(parameters.ids)]
        rows = rows.where(clock.any_of([reduce(and_, (F.col(name) == value for name, value in one)) for one in places]))
    return rows.select(*_CHOSEN.fieldNames())


def _fixed(lake: Lake, parameters: Parameters) -> DataFrame:
    """The chosen records, changed as declared, with `_ORIGIN` beside them."""
    origin = {"origin": F.col("topic"), "was": F.col("reason_code"), "events": F.lit(1)}
    found = chosen(lake, parameters).withColumns(origin)
    rows = found.select(*RECORD_COLUMNS, *_ORIGIN)
    if parameters.fix is None:
        return rows
    steps = fixes.parse(parameters.fix)
    records = found.limit(parameters.limit + 1).collect()
    if len(records) > parameters.limit:
        raise ShoplakeError(f"More than {parameters.limit} records are chosen: choose fewer, or raise `limit`.")
    changed = []
    for row in records:
        record = fixes.Refused(row["topic"], row["key"], row["value"], row["kafka_timestamp"])
        place = Place(row["topic"], row["partition"], row["offset"])
        fixed = fixes.apply(steps, record, arrived=row["quarantined_at"], place=str(place))
        rows_of = ({**row.asDict(), **vars(each), "events": len(fixed)} for each in fixed)
        changed += [tuple(one[name] for name in (*RECORD_COLUMNS, *_ORIGIN)) for one in rows_of]
    return lake.spark.createDataFrame(changed, rows.schema)


def _counted(judged: DataFrame) -> tuple[dict[str, int], int]:
    """Records still refused by reason, and how many are accepted."""
    counts = {row["reason_code"]: row["count"] for row in judged.groupBy("reason_code").count().collect()}
    accepted = counts.pop(None, 0)
    return dict(sorted(counts.items())), accepted


def _accepted(lake: Lake, judged: DataFrame, limit: int) -> list[Row]:
    """Accepted records, the first that came first, with whether silver has their event already."""
    wanted = [*RECORD_COLUMNS, *_ORIGIN, *IDENTITY, "event_date"]
    rows = judged.where(F.col("reason_code").isNull()).select(*wanted)
    found = rows.orderBy("kafka_timestamp", "topic", "partition", "offset").limit(limit).collect()
    if not found:
        return []
    holders, since = _holders(lake, found), datetime.now(UTC) - timedelta(hours=lake.settings.dedupe_hours)
    return [Row(**row.asDict(), is_known=_is_known(row, holders, since)) for row in found]


def _is_known(row: Row, holders: list[Row], since: datetime) -> bool:
    """True if the stream would consider the record a duplicate (`silver.deduplicate`)."""
    return any(
        holder["event_id"] == row["event_id"]
        and (holder["event_time"] == row["event_time"] or holder["processed_at"].replace(tzinfo=UTC) >= since)
        for holder in holders
    )


def _holders(lake: Lake, rows: list[Row]) -> list[Row]:
    """Rows of silver with the event ids of `rows`: on their days, and those that arrived of late."""
    wanted = lake.spark.createDataFrame(
        [(each,) for each in sorted({row["event_id"] for row in rows})], "event_id string"
    )
    is_new = F.col("processed_at") >= F.lit(datetime.now(UTC) - timedelta(hours=lake.settings.dedupe_hours))
    on_days = F.col("event_date").isin(sorted({row["event_date"] for row in rows}))
    silver = lake.read(silver_events.TABLE).where(on_days | is_new)
    columns = [*IDENTITY, *COORDINATES, "processed_at"]
    return silver.select(*columns).join(F.broadcast(wanted), "event_id", "left_semi").collect()


def _brought_home(lake: Lake, records: list[Row], say: Say) -> list[Fate]:
    """Send what silver does not have, wait until the stream has read it, and look what it has made of it."""
    known = [Fate(row, "known", None) for row in records if row["is_known"]]
    missing = [row for row in records if not row["is_known"]]
    if not missing:
        return known
    say(f"Sending {len(missing)} records to Kafka again")
    places = _send_again(lake.settings, missing)
    _wait_until_read(lake, places, say)
    holders = _holders(lake, missing)
    ids = {holder["event_id"] for holder in holders}
    accepted = {Place(holder["topic"], holder["partition"], holder["offset"]) for holder in holders}
    fates = [
        Fate(row, "accepted" if place in accepted else "duplicate", place)
        for row, place in zip(missing, places, strict=True)
        if row["event_id"] in ids
    ]
    return known + fates


def _send_again(settings: Settings, records: list[Row]) -> list[Place]:
    """Send the records to Kafka in their order, with the time they had; their new places, in the same order.

    Raises ShoplakeError when Kafka does not take them all: some may stand there then, which does no harm.
    """
    try:
        with closing(open_producer(settings)) as producer:
            sent = [
                producer.send(
                    row["topic"],
                    bytes(row["value"]),
                    None if row["key"] is None else bytes(row["key"]),
                    timestamp_ms=round(row["kafka_timestamp"].replace(tzinfo=UTC).timestamp() * 1000),
                )
                for row in records
            ]
            answers = [future.get(timeout=SEND_SECONDS) for future in sent]
    except KafkaError as error:
        raise ShoplakeError(f"Kafka at {settings.bootstrap} does not take the records ({error}); try again.") from error
    return [Place(answer.topic, answer.partition, answer.offset) for answer in answers]


def _wait_until_read(lake: Lake, places: list[Place], say: Say) -> None:
    """Return when all places are in the stream's book. Raises ShoplakeError when it does not come that far."""
    wanted = {(place.topic, str(place.partition)): place.offset for place in sorted(places)}  # the last of each
    end, last = time.monotonic() + PATIENCE_SECONDS, None
    with open_reader(lake.settings) as reader:
        while True:
            say("Waiting until the stream has read them")
            read = booked(reader)
            if all(read.get(topic, {}).get(partition, 0) > offset for (topic, partition), offset in wanted.items()):
                return
            if read != last:
                end, last = time.monotonic() + PATIENCE_SECONDS, read
            if time.monotonic() > end:
                raise ShoplakeError(
                    "The records are sent, but the stream does not read: see `shoplake status`. Replay again when it"
                    " runs; nothing comes twice."
                )
            time.sleep(0.5)


def _resolve(lake: Lake, fates: list[Fate], fix: str | None) -> int:
    """Write down what became of the events: in `ops.replays`, and as resolved in `silver.quarantine` for the records
    of which every event has its fate. Returns how many these are."""
    run, now = run_name(lake), datetime.now(UTC)
    rows = {
        (run, row["origin"], row["partition"], row["offset"], row["event_id"]):
        (run, row["origin"], row["partition"], row["offset"], row["was"], row["event_id"], fix, outcome,
         *(place or (None, None, None)), now)
        for row, outcome, place in fates
    }  # fmt: skip
    # An earlier try of this run may have written some of them and died before it marked them as resolved.
    written = {tuple(row[key] for key in replays.TABLE.keys) for row in lake.small.read(replays.TABLE).to_pylist()}
    if left := [row for key, row in rows.items() if key not in written]:
        lake.append_rows(replays.TABLE, left)
    seen = Counter(
        (row["ingest_date"], row["origin"], row["partition"], row["offset"], row["events"]) for row, *_ in fates
    )
    found = [place for (*place, events), count in seen.items() if count == events]
    if found:
        places = lake.spark.createDataFrame(found, "ingest_date date, topic string, partition int, offset bigint")
        on_days = clock.sql_on_days("kept.ingest_date", {day for day, *_ in found})
        is_it = same_in("ingest_date", *COORDINATES)
        done = f"UPDATE SET status = 'resolved', resolved_by = '{run}'"
        merge(lake, quarantine.TABLE, places, f"{on_days} AND {is_it} AND kept.status = 'open'", done)
    return len(found)
