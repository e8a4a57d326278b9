"""Where every record went, and where every number of hourly gold comes from, against a recompute of what was sent."""

import json
import os
import re
import subprocess
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from bronze import events as bronze_events
from gold import kpis
from lakehouse.delta_log import DeltaLog
from lakehouse.errors import UsageError
from lakehouse.lake import arrow_schema
from lakehouse.ops import batches
from lakehouse.raw_records import Place
from lakehouse.services.service import child_environment
from lakehouse.serving import figures
from lakehouse.serving.figures import WAYS, Figure, Figures, NothingThereError, hour_in, numbers_of, row_in
from lakehouse.serving.newest import open_publish
from lakehouse.serving.publisher import Publisher
from lakehouse.serving.trace import THREADS, TracedRecord, Tracer
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.gold_refresh import HOURLY
from producer.record import Record
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from silver import events as silver_events
from tests.support import command_line
from tests.support.traced_lake import bronze_of, fill, served_lake

pytestmark = pytest.mark.spark
NOON = datetime(2026, 9, 3, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=5)
"""Before all that is simulated: hours of hand-made records alone."""
USER = "u-mine"


def event(event_id: str, at: datetime, event_type: str = "click", **data: Any) -> dict[str, Any]:
    moment = at.isoformat().replace("+00:00", "Z")
    return {"event_id": event_id, "event_type": event_type, "user_id": USER, "timestamp": moment, "data": data}


def record(value: dict[str, Any] | bytes, due: datetime, topic: str = "shop.clicks") -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(topic, USER.encode(), raw, due.timestamp())


def by_hand() -> list[Record]:
    """What the simulator does not do: an id again with another time, before and after three hours; an id that is
    written with an escape, one that has quotes in it, and one in a value that is no JSON."""
    minute, again = timedelta(minutes=1), LONG_AGO + timedelta(hours=9)
    strange = 'it\'s "mine" \\ ü'
    first, copy = event("twice", LONG_AGO), event("twice", LONG_AGO + minute)
    return [
        record(first, LONG_AGO),
        record(copy, LONG_AGO + minute),
        record(json.dumps(event("esc", LONG_AGO)).replace('"esc"', '"\\u0065sc"').encode(), LONG_AGO + 2 * minute),
        record(event("esc", LONG_AGO), LONG_AGO + 3 * minute),
        record(event(strange, LONG_AGO), LONG_AGO + 4 * minute),
        record(b'{"event_id": "broken", "event_', LONG_AGO + 5 * minute),
        record(event("broken-not", LONG_AGO), LONG_AGO + 6 * minute),
        record(event("twice", again), again),
        record(event("twice", LONG_AGO), again + minute),
        *card_testing(LONG_AGO + timedelta(hours=10)),
    ]


def card_testing(start: datetime) -> list[Record]:
    """One user tries eight cards in as many seconds."""
    found = []
    for number in range(8):
        at = start + timedelta(seconds=number)
        status = "declined" if number < 7 else "approved"
        data = {
            "order_id": f"o{number}",
            "total_amount": 5,
            "card_fingerprint": f"card-{number}",
            "payment_status": status,
        }
        found.append(record(event(f"try-{number}", at, "purchase", **data), at, "shop.purchases"))
    return found


@dataclass
class Traced:
    settings: Settings
    reader: SqlReader
    records: list[Record]
    bronze: pa.Table

    @property
    def tracer(self) -> Tracer:
        return Tracer(self.settings, self.reader, open_publish(self.settings.serving_file))

    @property
    def figures(self) -> Figures:
        return Figures(self.settings, self.reader, open_publish(self.settings.serving_file))

    def of(self, event_id: str) -> list[TracedRecord]:
        return self.tracer.trace(event_id=event_id).records

    def shoplake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **child_environment(self.settings)}
        return command_line.shoplake(*arguments, environment=environment, folder=self.settings.data_dir)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Iterator[Traced]:
    """Two days of a shop, with records of every kind, published."""
    history = SimulationOptions(
        now_ms=int(NOON.timestamp() * 1000), seed=5, history_ms=2 * 86_400_000, history_events=2_000, duplicates=0.05,
        late=0.02, malformed=0.05, harmless=0.03, fraud=0.1,
    )  # fmt: skip
    records = [*by_hand(), *simulate(history)]
    with served_lake(tmp_path_factory.mktemp("traced")) as settings:
        bronze = bronze_of(records, batch=3)
        fill(settings, spark, bronze)
        with connect(settings, threads=THREADS) as reader:
            Publisher(settings, reader, DeltaLog(settings)).publish()
            yield Traced(settings, reader, records, bronze)


TABLES = {table.full_name: table for table in (bronze_events.TABLE, silver_events.TABLE, kpis.TABLE, batches.TABLE)}


def add(lake: Traced, table: str, **values: Any) -> None:
    """A row with these values, NULL in its other columns."""
    schema = arrow_schema(TABLES[table])
    SmallTables(lake.settings).append(TABLES[table], pa.Table.from_pylist([values], schema))


def book(lake: Traced, started_at: datetime) -> None:
    """A batch is in the stream's book."""
    add(
        lake,
        "ops.batches",
        batch_id=1,
        topic="shop.clicks",
        partition=0,
        started_at=started_at,
        committed_at=started_at,
    )


# --- records --------------------------------------------------------------------------------------------------------


def places(lake: Traced) -> list[Place]:
    columns = (lake.bronze.column(name).to_pylist() for name in ("topic", "partition", "offset"))
    return [Place(*place) for place in zip(*columns, strict=True)]


def test_each_record_is_told_as_it_was_sent(lake: Traced) -> None:
    """All odd ones and some of the others: refused for the reason that the simulator planned, accepted the first time,
    a duplicate of that afterwards."""
    start, seen = len(by_hand()), dict[str | None, Place]()
    expected: list[tuple[Place, str, str | None]] = []
    for place, sent in list(zip(places(lake), lake.records, strict=True))[start:]:
        if sent.reason:
            expected.append((place, "refused", sent.reason))
            continue
        event_id = json.loads(sent.value or b"")["event_id"]
        first = seen.setdefault(event_id, place)
        expected.append((place, "accepted", None) if first is place else (place, "duplicate", str(first)))
    by_fate = defaultdict(list)
    for one in expected:
        by_fate[one[1]].append(one)
    assert min(map(len, by_fate.values())) >= 30 and len(by_fate) == 3
    for place, fate, more in [one for of_fate in by_fate.values() for one in of_fate[:: len(of_fate) // 12]]:
        (told,) = lake.tracer.trace(at=str(place)).records
        assert (told.at, told.fate, told.reason_code or told.duplicate_of) == (str(place), fate, more)
        assert told.kafka_timestamp is not None and told.ingested_at > told.kafka_timestamp


def test_an_event_is_told_with_every_record_that_carries_it(lake: Traced) -> None:
    first, copy, late, same_time = lake.of("twice")
    assert [one.fate for one in (first, copy, late, same_time)] == ["accepted", "duplicate", "accepted", "duplicate"]
    assert copy.duplicate_of == first.at, "within three hours another time is no other event"
    assert same_time.duplicate_of == first.at, "the same time is the same event, at any age"
    assert late.event is not None and late.event.event_time == LONG_AGO + timedelta(hours=9)


@pytest.mark.parametrize(
    ("event_id", "fates"),
    [("esc", ["accepted", "duplicate"]), ('it\'s "mine" \\ ü', ["accepted"]), ("broken", ["refused"])],
)
def test_an_id_is_found_however_it_is_written(lake: Traced, event_id: str, fates: list[str]) -> None:
    assert [one.fate for one in lake.of(event_id)] == fates


def test_a_key_has_its_newest_records(lake: Traced) -> None:
    mine = [str(place) for place in places(lake)[: len(by_hand())]]
    newest = lake.tracer.trace(key=USER, limit=3).records
    assert [one.at for one in newest] == mine[-3:] and {one.key for one in newest} == {USER}
    assert len(lake.tracer.trace(key=USER, limit=100).records) == len(mine)


def test_an_accepted_event_says_in_which_numbers_and_flags_it_counts(lake: Traced) -> None:
    """Each number that it says has the event behind it, and no other number of the hour has."""

    @cache
    def behind(table: str, hour: datetime, column: str, **keys: str) -> set[str]:
        return {one.event_id for one in lake.figures.trace(table, hour, column, keys, 100_000).first_events}

    flags = lake.reader.query("SELECT * FROM gold.fraud_flags")
    viewed = lake.reader.query(
        "SELECT event_id FROM silver.events JOIN gold.top_products_hourly USING (product_id) WHERE event_type ="
        " 'product_view' AND hour_start = date_trunc('hour', event_time) ORDER BY ALL LIMIT 1"
    )
    for event_id in ("try-2", "try-7", viewed[0]["event_id"], "esc"):
        told = lake.of(event_id)[0].event
        assert told is not None and told.counts_in and all(one.published_at for one in told.counts_in)
        said = {(one.table, *one.row.values(), column) for one in told.counts_in for column in one.columns}
        assert {name for name, *_ in said} >= {"gold.kpis_hourly", "gold.fraud_coverage"}
        hour = told.event_time.replace(minute=0, second=0, microsecond=0)
        for table, known in WAYS.items():
            rows = lake.reader.query(f"SELECT * FROM {table} WHERE hour_start = TIMESTAMPTZ '{hour.isoformat()}'")
            for row in rows:
                keys = {key: row[key] for key in known.keys}
                for column in set(known.ways(row, None)) - {"rank"}:
                    is_behind = event_id in behind(table, hour, column, **{k: str(v) for k, v in keys.items()})
                    assert is_behind == ((table, *keys.values(), column) in said), (table, keys, column)
        expected = {flag["flag_id"] for flag in flags if event_id in flag["evidence"]}
        assert {flag.flag_id for flag in told.flags} == expected
    tested = lake.of("try-2")[0].event
    assert tested is not None and "card_testing" in {flag.rule_id for flag in tested.flags}


def test_before_any_publish_nothing_is_said_of_gold(lake: Traced) -> None:
    told = Tracer(lake.settings, lake.reader, None).trace(event_id="esc").records[0]
    assert told.fate == "accepted" and told.event is not None and (told.event.counts_in, told.event.flags) == ([], [])


def test_what_nobody_sent_is_not_there(lake: Traced) -> None:
    for asked in ({"event_id": "nobody's"}, {"key": "nobody"}, {"at": "shop.clicks-0-999999"}, {"at": "x-0-0"}):
        with pytest.raises(NothingThereError, match=r"is (not )?in bronze\.$"):
            lake.tracer.trace(**asked)


@pytest.mark.parametrize("asked", [{}, {"event_id": "a", "key": "b"}, {"at": "shop.clicks-0"}, {"at": "a-0-1,a-0-2"}])
def test_a_question_that_is_none_is_refused(lake: Traced, asked: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        lake.tracer.trace(**asked)


def test_a_record_that_is_only_in_bronze_is_under_way_or_lost(lake: Traced) -> None:
    at, value = NOON + timedelta(hours=3), json.dumps(event("left", NOON)).encode()
    record_of = {"topic": "shop.clicks", "partition": 0, "offset": 700_000, "kafka_timestamp": NOON, "value": value}
    add(lake, "bronze.events", **record_of, key=USER.encode(), ingested_at=at, ingest_date=at.date())
    assert [one.fate for one in lake.of("left")] == ["under_way"]
    book(lake, at)
    assert [one.fate for one in lake.of("left")] == ["lost"]


# --- figures --------------------------------------------------------------------------------------------------------


def hours_of(lake: Traced, table: str, count: int = 4) -> list[dict[str, Any]]:
    """Some rows of a table, from its first hour to its last."""
    rows = lake.reader.query(f"SELECT * FROM {table} ORDER BY ALL")
    return [*rows[:: len(rows) // count + 1], rows[-1]]


def traced(lake: Traced, table: str, row: dict[str, Any], column: str) -> Figure:
    keys = {key: str(row[key]) for key in WAYS[table].keys[:1]}
    return lake.figures.trace(table, row["hour_start"], column, keys, 100_000)


def test_every_number_of_hourly_gold_has_a_way() -> None:
    assert set(WAYS) == {table.full_name for table in HOURLY}
    row = {"currency": "EUR", "product_id": "p1", "rule_id": "card_testing"}
    for known in WAYS.values():
        assert set(known.ways(row, None)) == set(known.ways(row, "EUR")) == set(numbers_of(known.table))


@pytest.mark.parametrize("table", WAYS)
def test_numbers_are_what_their_events_add_up_to(lake: Traced, table: str) -> None:
    """As gold has them, and as they are added up here once more from the events that are listed."""
    for row in hours_of(lake, table, 6):
        for column in numbers_of(WAYS[table].table):
            found = traced(lake, table, row, column)
            assert found.matches and found.adds_up_to == found.value == row[column], (row["hour_start"], column, found)
            assert found.published_value == row[column] and found.published_at is not None
            listed, added = found.first_events, [one.adds for one in found.first_events]
            assert len(listed) == found.events == sum(one.events for one in found.offsets) and not found.later_events
            if row[column] is None:  # of several currencies
                assert len(listed) > 1
            elif column == "revenue":
                assert sum(map(Decimal, filter(None, added)), Decimal()) == row[column]
            elif column in ("unique_users", "unique_viewers", "orders"):
                assert len(set(added) - {None}) == row[column]
            elif column not in ("conversion_rate", "rank"):
                assert added == ["1"] * row[column]
            spans = {(one.topic, one.partition): (one.first_offset, one.last_offset) for one in found.offsets}
            for topic, partition, offset in (one.at.rsplit("-", 2) for one in listed):
                first, last = spans[topic, int(partition)]
                assert first <= int(offset) <= last


def test_listed_events_are_in_kafka_where_it_says(lake: Traced) -> None:
    row = hours_of(lake, "gold.kpis_hourly")[2]
    sent = dict(zip(map(str, places(lake)), lake.records, strict=True))
    found = traced(lake, "gold.kpis_hourly", row, "unique_users")
    assert found.events
    for one in found.first_events:
        value = json.loads(sent[one.at].value or b"")
        assert (value["event_id"], value["user_id"]) == (one.event_id, one.adds)
    few = lake.figures.trace("gold.kpis_hourly", row["hour_start"], "unique_users", {}, 2)
    assert few.first_events == found.first_events[:2] and few.events == found.events


@pytest.mark.parametrize("currency", ["EUR", "JPY", None])
def test_revenue_in_the_currency_of_the_shop(lake: Traced, spark: SparkSession, currency: str | None) -> None:
    """Events of several currencies, and of none, in one hour: as the job makes the row, so it adds up."""
    hour = NOON - timedelta(days=30)
    sold = [("a", "10.10", "EUR"), ("b", "0.000000001", "eur"), ("c", "7", " "), ("d", "9999999999", "JPY")]
    if not lake.reader.query(f"SELECT 1 FROM silver.events WHERE event_date = DATE '{hour.date()}'"):
        for number, (event_id, amount, of) in enumerate(sold):
            add(
                lake, "silver.events", event_id=event_id, event_type="purchase", event_time=hour, user_id="u",
                amount=Decimal(amount), currency=of, order_id=event_id, topic="shop.purchases", partition=0,
                offset=900_000 + number, processed_at=hour, event_date=hour.date(),
            )  # fmt: skip
    settings = lake.settings.model_copy(update={"currency": currency})
    schema = "event_id string, event_type string, event_time timestamp, user_id string, amount decimal(28,9),"
    rows = lake.reader.query(f"SELECT * FROM silver.events WHERE event_date = DATE '{hour.date()}'")
    names = ("event_id", "event_type", "event_time", "user_id", "amount", "currency", "product_id", "order_id")
    events = spark.createDataFrame(
        [(*(row[name] for name in names), row["payment_status"]) for row in rows],
        f"{schema} currency string, product_id string, order_id string, payment_status string",
    )
    (made,) = kpis.hourly(events, currency).toArrow().to_pylist()
    SmallTables(lake.settings).replace_days(
        kpis.TABLE,
        [hour.date()],
        lambda _: pa.Table.from_pylist(
            [made | {"updated_at": hour, "hour_date": hour.date()}], arrow_schema(kpis.TABLE)
        ),
    )
    found = Figures(settings, lake.reader, None).trace("gold.kpis_hourly", hour, "revenue", {}, 10)
    assert found.matches and found.adds_up_to == made["revenue"]
    assert made["revenue"] == {"EUR": Decimal("17.100000001"), "JPY": Decimal(10**10 + 6), None: None}[currency]


# --- numbers that are not, or not yet, what their events add up to --------------------------------------------------

QUIET = NOON + timedelta(days=1)
"""A day with hours that the tests below write themselves."""


def write_hour(lake: Traced, hour: datetime, clicks: int, written_at: datetime) -> None:
    """Gold says so of an hour, the last of its day that is written."""
    row = {"hour_start": hour, "hour_date": hour.date(), "clicks": clicks, "updated_at": written_at}
    rows = pa.Table.from_pylist([row], arrow_schema(kpis.TABLE))
    SmallTables(lake.settings).replace_days(kpis.TABLE, [hour.date()], lambda _: rows)


def accept_click(lake: Traced, name: str, hour: datetime, processed_at: datetime) -> None:
    add(
        lake, "silver.events", event_id=name, event_type="click", event_time=hour, user_id="u", topic="shop.clicks",
        partition=1, offset=zlib.crc32(name.encode()), processed_at=processed_at, event_date=hour.date(),
    )  # fmt: skip


def clicks(lake: Traced, hour: datetime) -> Figure:
    return lake.figures.trace("gold.kpis_hourly", hour, "clicks", {}, 10)


def test_a_number_that_is_wrong_does_not_match_and_the_command_ends_with_1(lake: Traced) -> None:
    hour = QUIET + timedelta(hours=1)
    accept_click(lake, "only", hour, hour)
    write_hour(lake, hour, 2, hour)
    book(lake, hour)
    found = clicks(lake, hour)
    assert (found.matches, found.value, found.adds_up_to) == (False, 2, 1)
    done = lake.shoplake("trace", "figure", "gold.kpis_hourly", f"{hour:%Y-%m-%dT%H}", "clicks")
    assert done.returncode == 1 and "do not match" in done.stdout, done.stderr


def test_events_that_came_since_are_told_and_are_no_fault(lake: Traced) -> None:
    hour = QUIET + timedelta(days=1)
    for number in range(3):
        accept_click(lake, f"late-{number}", hour, hour + timedelta(seconds=number))
    write_hour(lake, hour, 1, hour)
    found = clicks(lake, hour)
    assert (found.matches, found.adds_up_to, found.events, found.later_events) == (True, 1, 1, 2)
    write_hour(lake, hour, 3, hour)
    found = clicks(lake, hour)
    assert found.matches, "a job reads silver after the moment that its rows bear"
    assert (found.events, found.later_events, len(found.first_events)) == (3, 0, 3)


def test_a_batch_whose_gold_is_there_first_is_waited_for(lake: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "PATIENCE_SECONDS", 60.0)
    hour = QUIET + timedelta(days=2)
    book(lake, hour - timedelta(seconds=1))
    write_hour(lake, hour, 1, hour)

    def arrive() -> None:
        accept_click(lake, "slow", hour, hour)
        book(lake, hour)

    arrival = threading.Timer(0.7, arrive)
    arrival.start()
    assert clicks(lake, hour).matches
    arrival.join()


# --- what cannot be traced ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gold.cohort_retention", "retained_users"), "do not come of one hour's events; those of gold.kpis_hourly"),
        (("gold.kpi_hourly", "clicks"), "did you mean gold.kpis_hourly?"),
        (("gold.kpis_hourly", "currency"), "'currency' is no number of gold.kpis_hourly; these are: page_views"),
        (("gold.kpis_hourly", "clicks", "currency=EUR"), "gold.kpis_hourly has one row in an hour, not by 'currency'."),
        (("gold.revenue_hourly", "revenue", "rank=1"), "told apart by currency, not by 'rank'."),
        (("gold.top_products_hourly", "views"), r"rows of this hour: say which product_id \(.*, …\)"),
    ],
)
def test_what_is_no_such_number_is_refused(lake: Traced, arguments: tuple[str, ...], said: str) -> None:
    table, column, *row = arguments
    busy = lake.reader.query(
        "SELECT hour_start FROM gold.top_products_hourly GROUP BY ALL ORDER BY count(*) DESC, hour_start LIMIT 1"
    )
    with pytest.raises(UsageError, match=said):
        lake.figures.trace(table, busy[0]["hour_start"], column, row_in(row), 1)


def test_an_hour_without_a_row_has_no_number(lake: Traced) -> None:
    with pytest.raises(NothingThereError, match=r"^gold.kpis_hourly has no row of 2020-01-01T00\.$"):
        clicks(lake, datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-29T10", datetime(2026, 11, 29, 10, tzinfo=UTC)),
        ("2026-11-29 10:59", datetime(2026, 11, 29, 10, tzinfo=UTC)),
        ("2026-11-29T10:00+02:00", datetime(2026, 11, 29, 8, tzinfo=UTC)),
    ],
)
def test_an_hour_is_written_as_people_do(text: str, hour: datetime) -> None:
    assert hour_in(text) == hour


@pytest.mark.parametrize("text", ["", "10", "2026-11-29T25", "yesterday", "0001-01-01T00+10:00"])
def test_what_is_no_hour_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no hour"):
        hour_in(text)


# --- the commands ---------------------------------------------------------------------------------------------------


def test_the_command_tells_an_events_way(lake: Traced) -> None:
    done = lake.shoplake("trace", "event", "twice")
    assert done.returncode == 0, done.stderr
    first = str(places(lake)[0])
    told = re.sub(r" +\n", "\n", done.stdout)
    for said in (
        f"{first} with the event twice\n",
        f"a duplicate of {first}\n",
        "gold.kpis_hourly 2026-08-29T12",
        "clicks, unique_users",
        "rule_id account_sharing: events_considered",
    ):
        assert said in told, told
    told = json.loads(lake.shoplake("trace", "event", "--at", first, "--format", "json").stdout)
    assert told["records"][0]["kafka_timestamp"] == "2026-08-29T12:00:00Z"
    nothing = lake.shoplake("trace", "event", "nobody's")
    assert (nothing.returncode, nothing.stdout) == (1, "") and "is in bronze." in nothing.stderr


def test_the_command_adds_a_number_up(lake: Traced) -> None:
    row = max(hours_of(lake, "gold.revenue_hourly"), key=lambda row: row["revenue"])
    hour = f"{row['hour_start']:%Y-%m-%dT%H}"
    arguments = ("gold.revenue_hourly", hour, "revenue", "--of", f"currency={row['currency']}")
    done = lake.shoplake("trace", "figure", *arguments)
    assert done.returncode == 0 and "they match" in done.stdout, done.stderr
    told = lake.shoplake("trace", "figure", *arguments, "--format", "json").stdout
    assert f'"value":{row["revenue"].normalize():f},' in told and json.loads(told)["matches"] is True


@pytest.mark.parametrize(
    ("option", "wanted", "found"),
    [("--event", "broken", 1), ("--event", "esc", 0), ("--user", USER, 0), ("--key", USER, 1)],
)
def test_the_desk_finds_refused_records(lake: Traced, option: str, wanted: str, found: int) -> None:
    done = lake.shoplake("quarantine", "list", option, wanted, "--status", "all", "--format", "json")
    assert len(json.loads(done.stdout)) == found, done.stderr


def test_the_desk_finds_who_sent_what_was_refused(lake: Traced) -> None:
    """By the user in the value, which need not be the key."""
    refused = [json.loads(sent.value or b"") for sent in lake.records if sent.reason == "wrong_type"]
    user = next(value["user_id"] for value in refused if isinstance(value.get("user_id"), str))
    expected = sum(value.get("user_id") == user for value in refused)
    done = lake.shoplake("quarantine", "list", "--user", user, "--reason", "wrong_type", "--format", "json")
    assert len(json.loads(done.stdout)) == expected >= 1
