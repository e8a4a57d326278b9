"""A person is forgotten: nothing of the lake has the id afterwards, and everything else is as it was.

A lake of its own on the shop's Spark and S3 server; micro-batches are handed over as the stream hands them over.
The whole platform, with its stream running: tests/e2e/test_forget.py.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pyspark.sql.types import BinaryType, IntegerType, LongType, StringType, StructField, StructType, TimestampType

from lakehouse import persons
from lakehouse.backups import backup
from lakehouse.catalog import TABLES
from lakehouse.delta_log import DeltaLog
from lakehouse.errors import UsageError
from lakehouse.jobs import JOBS, cohort_retention, erasing, forget
from lakehouse.lake import Lake
from lakehouse.ops import replays
from lakehouse.runs.registry import RunRegistry
from lakehouse.services.s3 import ensure_bucket
from lakehouse.serving.derived import Extras
from lakehouse.serving.publisher import Publisher
from lakehouse.session import connect, mark_commits
from lakehouse.sql import connect as open_sql
from lakehouse.stream import control
from lakehouse.stream.gold_refresh import GoldRefresh
from lakehouse.stream.micro_batch import MicroBatch
from lakehouse.stream.recovery import Start
from lakehouse.stream.writer import Writer
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from quality import unknown_fields
from quality.ledger import reconcile
from silver import checks
from tests.support import traces
from tests.support.shop import Shop, beside

pytestmark = pytest.mark.e2e

VICTIM = "u-4711-Grünfeld"
NEIGHBOUR = "u-4711-Grünfel"
"""Begins as the other, and is somebody else."""
NAMED = "u-4713-Blaufeld"
ACCEPTED, REPEATED, REFUSED = 26, 2, 8
"""What `of_victim` sends, twice."""
NOW = datetime.now(UTC)
RECORD = StructType(
    [
        StructField("topic", StringType()),
        StructField("partition", IntegerType()),
        StructField("offset", LongType()),
        StructField("kafka_timestamp", TimestampType()),
        StructField("key", BinaryType()),
        StructField("value", BinaryType()),
    ]
)
Sent = tuple[str, bytes | None, bytes]


def event(user: str, kind: str = "product_view", at: datetime = NOW, **more: Any) -> dict[str, Any]:
    data = {"product_view": {"product_id": "p1"}, "page_view": {"page_url": "/"}}.get(kind, {})
    return {
        "event_id": f"e-{uuid.uuid4().hex}",
        "event_type": kind,
        "user_id": user,
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        **more,
        "data": {**data, **more.get("data", {})},
    }


def sent(one: dict[str, Any], topic: str = "shop.page_views", *, escaped: bool = True) -> Sent:
    return topic, str(one["user_id"]).encode(), json.dumps(one, ensure_ascii=escaped).encode()


def card_test(user: str, at: datetime) -> list[Sent]:
    """Six cards in a minute: a flag, with the payments as evidence."""
    purchases = [
        event(user, "purchase", at + timedelta(seconds=10 * number), data={
            "order_id": f"o{number}", "total_amount": 1, "payment_status": "declined",
            "card_fingerprint": f"card-{number}"}, context={"device_id": "d1", "ip": "203.0.113.7", "country": "DE"})
        for number in range(6)
    ]  # fmt: skip
    return [sent(one, "shop.purchases") for one in purchases]


def of_victim() -> list[Sent]:
    """Everything that can name a person: today, before the fold's window, months ago, twice, refused, unreadable."""
    twice = event(VICTIM, at=NOW - timedelta(minutes=5))
    return [
        sent(event(VICTIM)),
        sent(event(VICTIM, at=NOW - timedelta(minutes=1)), escaped=False),
        sent(event(VICTIM, at=NOW - timedelta(hours=30))),
        sent(event(VICTIM, at=NOW - timedelta(days=90))),
        sent(twice),
        sent(twice),
        sent(event(VICTIM, data={"referrer": f"friend of {VICTIM}"})),
        sent(event(VICTIM, timestamp="yesterday")),
        (*card_test(VICTIM, NOW - timedelta(hours=26)),)[0],
        *card_test(VICTIM, NOW - timedelta(hours=5)),
        ("shop.page_views", None, f'{{"user_id": "{VICTIM}", "event_id": "cut o'.encode()),
        ("shop.clicks", b"somebody", json.dumps({"account": VICTIM}).encode()),
        ("shop.clicks", VICTIM.encode(), b""),
    ]


@dataclass
class Stream:
    """Hands micro-batches over as Structured Streaming does."""

    lake: Lake
    batch: MicroBatch
    number: int = 0
    offsets: dict[str, int] = field(default_factory=dict)

    def take(self, records: list[Sent]) -> None:
        rows = []
        for topic, key, value in records:
            offset = self.offsets.get(topic, 0)
            self.offsets[topic] = offset + 1
            rows.append((topic, 0, offset, datetime.now(UTC), key, value))
        frame = self.lake.spark.createDataFrame(rows, RECORD)
        self.batch(checks.judge(frame), self.number)
        self.batch.wait()
        self.number += 1

    def ends(self) -> dict[str, dict[str, int]]:
        return {topic: {"0": offset} for topic, offset in self.offsets.items()}


@dataclass
class Seen:
    """A lake that has seen a day of everything."""

    lake: Lake
    stream: Stream
    publisher: Publisher
    registry: RunRegistry
    backup: str
    logs: Path
    """Of Spark and the S3 server."""

    def faults(self) -> tuple[list[str], dict[str, int], list[str]]:
        ends = self.stream.ends()
        begin = {topic: {"0": 0} for topic in ends}
        with open_sql(self.lake.settings) as reader:
            found = reconcile(reader.query, lambda: (begin, ends), None)
        return [str(fault) for fault in found.faults], found.rows, found.notes

    def forget(self, user: str, say: Any = lambda _doing: None) -> dict[str, Any]:
        """A run, with what the registry kept of its parameters."""
        job = JOBS["forget"]
        kept = self.registry.submit(job, job.parse({"user": user, "wait_seconds": 0}), caller="test").run
        assert user not in str(kept)
        mark_commits(self.lake.spark, kept.id)
        lake = Lake(self.lake.spark, self.lake.settings)
        return forget.run(lake, cast(forget.Parameters, job.parse(kept.parameters)), say)

    def ask(self, sql: str) -> list[dict[str, Any]]:
        with open_sql(self.lake.settings) as reader:
            return reader.query(sql)


def fill(stream: Stream) -> None:
    history = SimulationOptions(
        now_ms=int(NOW.timestamp() * 1000), seed=7, history_ms=2 * 86_400_000, history_events=400, duplicates=0.05,
        malformed=0.05, late=0.02,
    )  # fmt: skip
    others = [(one.topic, one.key, one.value or b"") for one in simulate(history)]
    stream.take([*others[:200], *of_victim()])
    stream.take([*others[200:], sent(event(NEIGHBOUR)), *card_test(NEIGHBOUR, NOW - timedelta(hours=6)), *of_victim()])


@pytest.fixture(scope="module")
def seen(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder: Path = tmp_path_factory.mktemp("forget")
    settings = beside(shop.settings, folder, bucket="forget", kafka_bootstrap="127.0.0.1:1", topic_retention_hours=48)
    ensure_bucket(settings)
    session = str(uuid.uuid4())
    lake = Lake(connect(settings, session), settings)
    lake.create_tables(TABLES)
    token = Writer(settings).take(session)
    stream = Stream(lake, MicroBatch(settings, Start({}), folder / "checkpoint", token))
    fill(stream)
    GoldRefresh(lake).restate(_hours(lake), datetime.now(UTC))
    GoldRefresh(lake).restate_flags(_hours(lake), datetime.now(UTC))
    cohort_retention.run(lake, cohort_retention.Parameters(timezone="Europe/Berlin"), lambda _doing: None)
    with open_sql(settings) as reader:
        unknown_fields.update(lake, reader)
    fix = f'default user_id="{VICTIM}"'
    replayed = ("run", "shop.clicks", 0, 0, "missing_field", "e1", fix, "accepted", None, None, None, NOW)
    lake.append_rows(replays.TABLE, [replayed])
    registry = RunRegistry.open(settings)
    registry.submit(JOBS["replay_quarantine"], JOBS["replay_quarantine"].parse({"fix": fix}), caller="test")
    with open_sql(settings) as reader:
        publisher = Publisher(settings, reader, DeltaLog(settings), extras=Extras(settings, reader))
        publisher.publish()
        made = backup.back_up(settings, str(folder / "backups"), lambda *_: None)
        yield Seen(lake, stream, publisher, registry, made["path"], shop.settings.logs)
    registry.close()
    lake.spark.stop()


def _hours(lake: Lake) -> set[int]:
    rows = lake.read(TABLES[1]).selectExpr("floor(unix_seconds(event_time) / 3600) AS hour").distinct().collect()
    return {row["hour"] for row in rows}


def tables_with(seen: Seen, user: str) -> set[str]:
    return {"/".join(key.split("/")[:2]) for key in traces.in_bucket(seen.lake.settings, persons.spellings(user))}


def places(seen: Seen, user: str) -> str:
    """Files of this machine that have it; those of the S3 server are looked at as objects."""
    folders = (seen.lake.settings.data_dir, seen.logs)
    return "\n".join(name for path in folders for name in traces.in_files(path, persons.spellings(user)))


def test_the_lake_has_the_person_everywhere(seen: Seen) -> None:
    """Else the tests below could not fail."""
    assert tables_with(seen, VICTIM) >= {
        "bronze/events", "silver/events", "silver/quarantine", "gold/user_days", "gold/fraud_flags",
        "ops/unknown_fields", "ops/replays",
    }  # fmt: skip
    found = places(seen, VICTIM)
    assert all(name in found for name in ("serving.duckdb", "registry.sqlite3", "fold.duckdb"))
    assert seen.faults()[0] == []


def test_a_person_is_forgotten_while_the_stream_goes_on(seen: Seen) -> None:
    (before,) = seen.ask(f"SELECT count(*) AS n FROM silver.events WHERE user_id <> '{VICTIM}'")
    flags_before = seen.ask(f"SELECT * EXCLUDE detected_at FROM gold.fraud_flags WHERE user_id = '{NEIGHBOUR}'")
    said: list[str] = []

    def say(doing: str) -> None:
        if doing not in said:
            said.append(doing)
            seen.stream.take([sent(event(NEIGHBOUR))])

    receipt = seen.forget(VICTIM, say)
    assert len(said) == JOBS["forget"].steps
    assert VICTIM not in str(receipt) and receipt["person"] == persons.name_of(seen.lake.settings, VICTIM)
    assert (receipt["silver_rows"], receipt["duplicate_rows"], receipt["quarantined_rows"]) == (
        ACCEPTED,
        REPEATED,
        REFUSED,
    )
    assert receipt["user_days"] >= 3 and receipt["gold_hours"] >= 5 and receipt["deleted_files"] > 20
    assert (receipt["cleared_cells"], receipt["registry_rows"], receipt["mentions"]) == (2, 1, 0)
    (written,) = seen.ask("SELECT * FROM ops.erasures")
    assert written["person"] == receipt["person"]
    (after,) = seen.ask("SELECT count(*) AS n FROM silver.events")
    assert after["n"] == before["n"] + len(said)
    assert seen.ask(f"SELECT * EXCLUDE detected_at FROM gold.fraud_flags WHERE user_id = '{NEIGHBOUR}'") == flags_before


def test_no_byte_of_the_bucket_has_the_id(seen: Seen) -> None:
    assert traces.in_bucket(seen.lake.settings, persons.spellings(VICTIM)) == []
    assert "bronze/events" in tables_with(seen, NEIGHBOUR)


def test_no_file_of_the_machine_has_the_id(seen: Seen) -> None:
    assert "gold.kpis_hourly" in seen.publisher.publish()
    seen.stream.take([])
    assert places(seen, VICTIM) == ""


def test_the_books_balance_with_erased_records(seen: Seen) -> None:
    faults, rows, notes = seen.faults()
    assert (faults, notes) == ([], [])
    assert rows["erased"] == ACCEPTED + REPEATED + REFUSED
    assert rows["bronze"] == sum(rows[kind] for kind in rows if kind != "bronze")
    (book,) = seen.ask("SELECT sum(bronze_rows) AS n FROM ops.batches")
    assert rows["bronze"] == book["n"]


def test_gold_is_what_silver_says_without_the_person(seen: Seen) -> None:
    assert GoldRefresh(seen.lake).restate(_hours(seen.lake), datetime.now(UTC)) == []
    zone = "Europe/Berlin"
    cohorts = (
        "SELECT sum(retained_users) AS n FROM gold.cohort_retention WHERE period_index = 0 AND granularity = 'day'"
    )
    (counted,) = seen.ask(f"{cohorts} AND definition = 'n_day' AND activity = 'any' AND timezone = '{zone}'")
    (users,) = seen.ask(f"SELECT count(DISTINCT user_id) AS n FROM gold.user_days WHERE timezone = '{zone}'")
    assert counted["n"] == users["n"] > 0


def test_a_backfill_brings_nobody_back(seen: Seen) -> None:
    today = {"from_date": str((NOW - timedelta(days=2)).date()), "to_date": str(NOW.date())}
    backfill = JOBS["backfill"]
    backfill.run(seen.lake, backfill.parse(today), lambda _doing: None)
    assert tables_with(seen, VICTIM) == set()
    assert seen.faults()[0] == []


def test_the_backup_says_whom_it_still_holds(seen: Seen) -> None:
    (receipt,) = seen.ask("SELECT backups, notes FROM ops.erasures")
    assert receipt["backups"] == [f"{seen.backup}, until somebody deletes it"]
    assert "48 hours" in receipt["notes"][0] and "does not say whether records wait" in receipt["notes"][1]
    told = json.loads((Path(seen.backup) / "forgotten.json").read_text())
    assert told == [persons.name_of(seen.lake.settings, VICTIM)]


@pytest.fixture(scope="module")
def named(seen: Seen) -> Seen:
    """Somebody has sent a record, and is named in one of another."""
    seen.stream.take([sent(event(NAMED)), sent(event(NEIGHBOUR, "page_view", data={"page_url": f"/of/{NAMED}"}))])
    return seen


def test_a_record_of_another_that_names_the_person_is_not_hers(named: Seen) -> None:
    assert [row["was"] for row in erasing.found(named.lake, NAMED).to_pylist()] == ["silver"]
    assert erasing.left(named.lake, NAMED) == (1, 1)


@pytest.mark.nightly
def test_a_record_of_another_that_names_the_person_stays_and_is_told(named: Seen) -> None:
    control.want(named.lake.settings, "stopped")
    receipt = named.forget(NAMED)
    counts = {name: receipt[name] for name in ("silver_rows", "duplicate_rows", "quarantined_rows", "mentions")}
    assert (counts, len(receipt["notes"])) == (
        {"silver_rows": 1, "duplicate_rows": 0, "quarantined_rows": 0, "mentions": 1},
        2,
    ), receipt["notes"]
    assert tables_with(named, NAMED) == {"bronze/events", "silver/events"}
    assert not named.lake.settings.fold_file.exists(), "of a stream that is stopped the memory goes"


@pytest.mark.parametrize("user", ["event_id", "shop"])
def test_an_id_that_is_any_word_takes_no_record_of_others(seen: Seen, user: str) -> None:
    assert erasing.found(seen.lake, user).num_rows == 0


def test_whom_nobody_knows_any_more_cannot_be_forgotten(seen: Seen) -> None:
    job, name = JOBS["forget"], persons.name_of(seen.lake.settings, VICTIM)
    with pytest.raises(UsageError, match="give the id again"):
        job.run(seen.lake, job.parse({"user": name}), lambda _doing: None)
