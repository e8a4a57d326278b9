"""The demo's live traffic: the thief in it, and what is said of a freshness that misses its target."""

import json
import time
from collections import Counter
from typing import Any

import duckdb
import pytest

from lakehouse.cli.demo import traffic as demo_traffic
from lakehouse.cli.demo.tour import Plan, _options
from lakehouse.cli.demo.traffic import CARDS, Freshness, Traffic
from lakehouse.sql_guard import check_reading
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.declared_tables import Reader, create_tables
from tests.support.platform import free_settings

NOW_MS = 1_788_430_500_000


@pytest.fixture
def traffic(tmp_path) -> Traffic:
    options = SimulationOptions(now_ms=NOW_MS, live=True, rate=5, duration_s=30)
    return Traffic(free_settings(tmp_path), options)


def test_a_thief_begins_live_and_tries_six_cards_within_seconds(traffic: Traffic) -> None:
    records = list(traffic._all())
    assert traffic.thief is not None and traffic.thief.tried == CARDS
    own = [record for record in records if record.key == traffic.thief.user_id.encode()]
    events = [json.loads(record.value or b"") for record in own]
    assert len({event["data"]["card_fingerprint"] for event in events}) == CARDS
    assert {event["data"]["payment_status"] for event in events} == {"declined"}
    assert 3 <= own[0].due - NOW_MS / 1000 < 5 and 5 * 1.5 <= own[-1].due - own[0].due < 12
    dues = [record.due for record in records]
    assert dues == sorted(dues)
    assert len(records) == pytest.approx(150 + CARDS, rel=0.05)


def test_another_thief_comes_when_asked_for_and_only_one_at_a_time(traffic: Traffic) -> None:
    keys: Counter[bytes] = Counter()
    for record in traffic._all():
        keys[record.key or b""] += (record.key or b"").startswith(b"thief-")
        if 5 < record.due - NOW_MS / 1000 < 16:
            traffic.try_cards()
    assert len(+keys) == 2 and set((+keys).values()) == {CARDS}


class Gold:
    """Answers what gold would."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self.rows, self.asked = rows, 0

    def query(self, _sql: str) -> list[dict[str, object]]:
        self.asked += 1
        return self.rows


def test_the_seconds_until_the_flag_is_seen_are_noted_once(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic.try_cards()
    nothing: Any = Gold([])
    assert not traffic.look_for_flag(nothing)
    assert traffic.thief is not None and traffic.thief.seconds is None
    monkeypatch.setattr(demo_traffic.time, "time", lambda: 1000.0)
    reader: Any = Gold([{"at": 998.5}])
    assert traffic.look_for_flag(reader) and traffic.look_for_flag(reader)
    assert traffic.thief.seconds == 1.5 and reader.asked == 1
    assert traffic.caught is traffic.thief


def test_freshness_counts_from_kafka_to_the_book_for_what_is_live(traffic: Traffic) -> None:
    assert check_reading(demo_traffic.FRESHNESS)
    with duckdb.connect() as lake:
        create_tables(lake)
        lake.execute("BEGIN")  # so that it stays now
        for batch, (began, took) in enumerate([(60, 1), (30, 2), (30 * 86_400, 1)]):
            at = f"now() - INTERVAL {began} SECOND"
            lake.execute(
                f'INSERT INTO ops.batches BY NAME SELECT {batch} AS batch_id, unnest([0, 1]) AS "partition",'
                f" {at} AS started_at, {at} + INTERVAL {took} SECOND AS committed_at"
            )
            lake.execute(
                f"INSERT INTO silver.events BY NAME SELECT current_date AS event_date, {at} AS processed_at,"
                f" {at} - INTERVAL 500 MILLISECOND AS kafka_timestamp FROM range(50)"
            )
        traffic._began = time.time() - 90
        reader: Any = Reader(lake)
        traffic.measure(reader)
    assert traffic.freshness == Freshness(2.0, 2.5, 100)


@pytest.mark.parametrize(
    ("p99", "busy", "own", "said"),
    [
        (4.9, 20.0, 0.0, ""),
        (5.1, 20.0, 15.0, "other programs took 25% of this machine's processors"),
        (5.1, 20.0, 20.0, "the lake had all processors busy"),
        (5.1, 5.0, 4.0, "look for slow micro-batches in"),
    ],
)
def test_a_miss_has_its_reason(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch, p99: float, busy: float, own: float, said: str
) -> None:
    monkeypatch.setattr(demo_traffic, "_cpu_seconds", lambda _settings: (20.0, busy, own))
    traffic.freshness = Freshness(1.0, p99, 50)
    assert said in traffic._why_slow() and bool(said) == bool(traffic._why_slow())


def test_live_minutes_stay_in_the_scale_of_the_historys_hours() -> None:
    plan = Plan()
    history = Counter(int(record.due) // 3600 for record in simulate(_options(plan)))
    busy = sorted(history.values())[int(len(history) * 0.95)]
    assert plan.rate * 300 < 3 * busy, "five minutes on the live page are no spike that flattens 60 days"
