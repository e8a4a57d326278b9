"""The simulator: repeatable, within the contract, shaped like a shop, and silent about fraud."""

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

from lakehouse.errors import UsageError
from producer.json_schema import event_schema
from producer.record import Record
from producer.simulator import SimulationOptions, simulate

NOW_MS = 1_788_430_500_000
DAY_MS = 86_400_000
CLEAN = SimulationOptions(
    now_ms=NOW_MS,
    history_ms=30 * DAY_MS,
    history_events=30_000,
    duplicates=0,
    out_of_order=0,
    late=0,
    malformed=0,
    harmless=0,
    fraud=0,
)
LIVE = SimulationOptions(now_ms=NOW_MS, live=True, rate=200, duration_s=20, fraud=0.1)


@cache
def clean_events() -> list[dict]:
    return [json.loads(record.value) for record in simulate(CLEAN)]


def moment(event: dict) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


@pytest.mark.parametrize(
    "options",
    [
        LIVE,
        replace(CLEAN, history_events=2000, malformed=0.1, fraud=0.1),
        replace(LIVE, history_ms=DAY_MS, history_events=500),
    ],
)
def test_same_options_give_the_same_records(options: SimulationOptions) -> None:
    assert list(simulate(options)) == list(simulate(options))


def test_another_seed_gives_other_records_and_ids() -> None:
    one, other = ({r.event_id for r in simulate(replace(LIVE, seed=seed))} for seed in (1, 2))
    assert len(one & other - {None}) == 0


def test_runs_at_different_times_share_no_event_id() -> None:
    one, other = ({r.event_id for r in simulate(replace(LIVE, now_ms=NOW_MS + shift))} for shift in (0, 60_000))
    assert len(one & other - {None}) == 0


def test_well_formed_events_satisfy_the_schema_and_go_to_their_topic() -> None:
    validator = Draft202012Validator(event_schema(), validate_formats=True)
    records = [record for record in simulate(replace(LIVE, harmless=0.1)) if record.reason is None]
    for record in records[:1500]:
        event = json.loads(record.value or b"")
        validator.validate(event)
        assert record.key == event["user_id"].encode()
    assert len(records) > 3000


def test_records_leave_in_order_and_events_are_in_their_window() -> None:
    dues = [record.due for record in simulate(replace(CLEAN, history_events=3000))]
    assert dues == sorted(dues)
    times = [moment(event) for event in clean_events()]
    assert times == sorted(times)
    assert (NOW_MS - CLEAN.history_ms) / 1000 <= times[0] and times[-1] < NOW_MS / 1000


def test_about_as_many_events_as_asked_for() -> None:
    assert len(clean_events()) == pytest.approx(30_000, rel=0.15)
    assert sum(1 for _ in simulate(LIVE)) == pytest.approx(4000, rel=0.02)
    assert sum(1 for _ in simulate(replace(LIVE, count=123))) == 123


def test_the_funnel_narrows() -> None:
    types = Counter(event["event_type"] for event in clean_events())
    assert types["product_view"] > types["add_to_cart"] * 3 > types["purchase"] * 3 > 300
    assert types["search"] > 500 and types["click"] > 500 and types["add_to_wishlist"] > 200
    with_product = [e for e in clean_events() if e["event_type"] == "page_view" and "product_id" in e["data"]]
    assert 0.02 < len(with_product) / types["product_view"] < 0.2


def test_popularity_has_a_long_tail() -> None:
    looks = Counter(e["data"]["product_id"] for e in clean_events() if e["event_type"] == "product_view")
    ranked = [count for _, count in looks.most_common()]
    assert sum(ranked[:10]) > 0.15 * sum(ranked)
    assert len(ranked) > 1000


def test_some_payments_are_declined() -> None:
    statuses = Counter(e["data"].get("payment_status") for e in clean_events() if e["event_type"] == "purchase")
    assert 0.015 < statuses["declined"] / statuses["approved"] < 0.1
    assert statuses[None] > 0


def test_evenings_are_busier_than_nights() -> None:
    german = Counter(
        datetime.fromtimestamp(moment(e) + 3600).hour for e in clean_events() if e["context"]["country"] == "DE"
    )
    assert german[20] > 4 * german[3]


def test_retention_falls_with_age() -> None:
    days: dict[str, set[int]] = defaultdict(set)
    for event in clean_events():
        days[event["user_id"]].add(int(moment(event) // 86_400))
    last = NOW_MS // DAY_MS - 1
    newcomers = [seen for seen in days.values() if last - 16 > min(seen) > last - 29]

    def retained(offset: int) -> float:
        return sum(1 for seen in newcomers if min(seen) + offset in seen) / len(newcomers)

    early, late = sum(map(retained, (1, 2, 3))) / 3, sum(map(retained, (11, 12, 13))) / 3
    assert 0.02 < late < 0.8 * early < 0.5


def test_people_do_not_travel_faster_than_planes() -> None:
    last: dict[str, tuple[float, str]] = {}
    changes = 0
    for event in clean_events():
        at, country = moment(event), event["context"]["country"]
        before = last.get(event["user_id"])
        if before and before[1] != country:
            changes += 1
            assert at - before[0] > 2 * 3600
        last[event["user_id"]] = (at, country)
    assert changes > 10


def test_duplicates_are_the_same_bytes() -> None:
    seen: dict[str, Record] = {}
    repeated = 0
    for record in simulate(replace(CLEAN, duplicates=0.05, history_events=5000)):
        assert record.event_id is not None
        first = seen.setdefault(record.event_id, record)
        assert (first.topic, first.key, first.value) == (record.topic, record.key, record.value)
        repeated += first is not record
    assert 100 < repeated < 400


def test_late_and_out_of_order_events_lie_behind_their_moment() -> None:
    records = list(simulate(replace(CLEAN, late=0.05, out_of_order=0.05, history_events=5000)))
    behind = [record.due - moment(json.loads(record.value or b"")) for record in records]
    assert 100 < sum(1 for lag in behind if lag > 500) < 500
    assert 100 < sum(1 for lag in behind if 0.2 < lag < 30) < 500


def test_live_traffic_keeps_its_rate_and_follows_the_history() -> None:
    both = list(simulate(replace(LIVE, history_ms=2 * DAY_MS, history_events=2000)))
    live = [record for record in both if record.due >= NOW_MS / 1000]
    assert len(live) == pytest.approx(4000, rel=0.02)
    per_second = Counter(int(record.due) for record in live)
    assert all(150 < count < 260 for count in per_second.values())


@pytest.mark.parametrize("is_sent", [False, True])
def test_live_users_return_as_those_of_the_history_do(is_sent: bool) -> None:
    options = replace(CLEAN, live=True, rate=20, duration_s=60, history_is_sent=is_sent)
    live = {json.loads(r.value or b"")["user_id"] for r in simulate(options) if r.due >= NOW_MS / 1000}
    first = {event["user_id"]: int(moment(event) // 86_400) for event in reversed(clean_events())}
    yesterday = NOW_MS // DAY_MS - 1
    then = {event["user_id"] for event in clean_events() if int(moment(event) // 86_400) == yesterday}
    newcomers = sum(first[user] == yesterday for user in then) / len(then)
    assert sum(user not in first for user in live) / len(live) < newcomers + 0.05 < 0.5
    assert len(live) > 80


def test_nobody_was_there_before_the_history_begins() -> None:
    records = simulate(replace(CLEAN, late=0.1, history_events=5000))
    assert min(moment(json.loads(record.value or b"")) for record in records) * 1000 >= CLEAN.start_ms


def test_truth_goes_to_its_file_only(tmp_path: Path) -> None:
    path = tmp_path / "truth" / "episodes.jsonl"
    options = replace(CLEAN, fraud=0.2, history_events=20_000, truth=path)
    events = {r.event_id: json.loads(r.value or b"") for r in simulate(options)}
    episodes = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({episode["scenario"] for episode in episodes}) == 13
    assert {episode["innocent"] for episode in episodes} == {True, False}
    for episode in episodes:
        own = [events[event_id] for event_id in episode["event_ids"]]
        assert {event["user_id"] for event in own} <= set(episode["users"])
        assert {event["context"]["device_id"] for event in own} <= set(episode["devices"])
        assert {event["context"]["ip"] for event in own} <= set(episode["ips"])
    allowed = {"event_id", "event_type", "user_id", "timestamp", "context", "data"}
    assert all(set(event) == allowed for event in events.values())
    text = json.dumps(list(events.values()))
    assert not any(episode["scenario"] in text or episode["episode_id"] in text for episode in episodes)


def test_truth_is_complete_when_the_simulation_is_closed_early(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    records = simulate(replace(LIVE, truth=path, fraud=0.3))
    sent = {record.event_id for record in itertools.islice(records, 500)}
    records.close()
    episodes = [json.loads(line) for line in path.read_text().splitlines()]
    assert episodes
    assert all(set(episode["event_ids"]) <= sent for episode in episodes)


@pytest.mark.parametrize(
    "wrong",
    [{"duplicates": 0.7}, {"rate": 0}, {"history_ms": 0, "live": False}, {"history_ms": 500 * DAY_MS}, {"users": 0}],
)
def test_what_cannot_be_simulated_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        replace(LIVE, **wrong)
