"""Refused records come home once each, however often and however many at once ask for it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gold import kpis
from lakehouse import hours as clock
from lakehouse.catalog import TABLES
from lakehouse.errors import ShoplakeError
from lakehouse.jobs import JOBS
from lakehouse.lake import Lake
from lakehouse.ops import marks, schema_changes
from lakehouse.serving.file import published
from lakehouse.session import connect
from lakehouse.sql import connect as open_sql
from lakehouse.stream.gold_refresh import GoldRefresh
from producer.publish import publish
from producer.record import Record
from quality import results
from quality.gate import blocked_by, failing
from quality.suites import SUITES
from silver import events as silver_events
from tests.support.platform import platform
from tests.support.refused import AGES, NOW, VIEWS, assert_identity, purchase, replayed, view
from tests.support.shop import Shop, eventually, shoplake

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

TIMES_AT_ONCE = 50


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A platform whose quarantine holds what a fix can bring home, and what none can."""
    folder: Path = tmp_path_factory.mktemp("desk")
    with platform(folder, stream=True) as settings:
        shop = Shop(settings, folder)
        good = [view(number, 5.0, age) for number, age in enumerate(AGES)]
        priced = [view(100 + number, "19.90", age) for number, age in enumerate(AGES)]
        twice = [view(100, "19.90", AGES[0]), view(0, "5.0", AGES[0])]
        astray = [purchase(number, VIEWS, "somebody", age) for number, age in enumerate(AGES)]
        hopeless = [Record(VIEWS, b"u1", value, time.time()) for value in (b"{", None, b"[1]")]
        publish([*good, *priced, *twice, *astray, *hopeless], settings)
        shop.wait_until_read()
        yield shop


@pytest.fixture(scope="module")
def lake(desk: Shop) -> Iterator[Lake]:
    spark = connect(desk.settings)
    yield Lake(spark, desk.settings)
    spark.stop()


def event_ids(desk: Shop) -> list[str]:
    return [str(row["event_id"]) for row in desk.ask("select event_id from silver.events order by 1")]


def test_a_dry_run_changes_nothing(desk: Shop, lake: Lake) -> None:
    before = desk.ask("select * from silver.quarantine order by all")
    found = replayed(lake, dry_run="true", fix="cast data.price=number")
    assert found["still_refused_by_reason"] == {"not_an_object": 1, "not_json": 1, "tombstone": 1, "wrong_topic": 4}
    assert (found["chosen"], found["acceptable"], found["already_in_silver"]) == (13, 6, 1)
    assert replayed(lake, dry_run="true", reason="wrong_type")["acceptable"] == 0, "without the fix none is right"
    assert desk.ask("select * from silver.quarantine order by all") == before


def test_a_stopped_stream_refuses_a_replay(desk: Shop, lake: Lake) -> None:
    from lakehouse.stream import control as stream_control

    stream_control.want(desk.settings, "stopped")
    try:
        with pytest.raises(ShoplakeError, match="The stream is stopped"):
            replayed(lake, fix="cast data.price=number")
    finally:
        stream_control.want(desk.settings, "running")


def test_fifty_replays_at_once_bring_each_record_home_once(desk: Shop, lake: Lake) -> None:
    before = event_ids(desk)
    refused = desk.ask("select count(*) as n from silver.quarantine")
    spared = [connect(desk.settings) for _ in range(5)]
    lakes = [Lake(session, desk.settings) for session in spared]
    with ThreadPoolExecutor(TIMES_AT_ONCE) as pool:
        runs = [
            pool.submit(replayed, lakes[number % 5], reason="wrong_type", fix="cast data.price=number")
            for number in range(TIMES_AT_ONCE)
        ]
        for run in runs:
            run.result()
    for session in spared:
        session.stop()
    wanted = sorted([*before, *(f"view-{100 + number}" for number in range(len(AGES)))])
    assert event_ids(desk) == wanted
    assert desk.ask("select count(*) as n from silver.quarantine") == refused
    assert desk.ask("select distinct status from silver.quarantine where reason_code = 'wrong_type'") == [
        {"status": "resolved"}
    ]
    desk.wait_until_read()
    assert_identity(desk)


def test_what_was_astray_finds_its_topic_and_gold_shows_it(desk: Shop, lake: Lake) -> None:
    done = replayed(lake, reason="wrong_topic", fix="route; rekey")
    assert (done["accepted"], done["resolved"], done["left"]) == (4, 4, 0)
    rows = desk.ask("select distinct topic, price from silver.events where event_id like 'view-1__'")
    assert rows == [{"topic": VIEWS, "price": Decimal("19.9")}]
    counted = "select hour_start, product_views, purchases, revenue from gold.kpis_hourly order by 1"
    expected = (
        "select date_trunc('hour', event_time) as hour_start, count(*) filter (event_type = 'product_view') as"
        " product_views, count(*) filter (event_type = 'purchase') as purchases, coalesce(sum(amount), 0) as revenue"
        " from silver.events group by 1 order by 1"
    )
    eventually(lambda: desk.ask(counted) == desk.ask(expected), 120, "gold equals silver in every hour")
    (total,) = desk.ask("select sum(purchases) as n from gold.kpis_hourly")
    assert total["n"] == len(AGES)
    written = desk.ask(
        "select outcome, fix, count(*) as n from ops.replays where reason_code = 'wrong_topic' group by all"
    )
    assert written == [{"outcome": "accepted", "fix": "route; rekey", "n": 4}]
    assert_identity(desk)


def test_a_replay_of_nothing_does_nothing(desk: Shop, lake: Lake) -> None:
    before = event_ids(desk), desk.ask("select count(*) as n from bronze.events")
    assert replayed(lake, reason="wrong_type", fix="cast data.price=number")["chosen"] == 0
    assert replayed(lake)["resolved"] == 0
    assert before == (event_ids(desk), desk.ask("select count(*) as n from bronze.events"))


def test_the_desk_as_commands(desk: Shop) -> None:
    listed = shoplake(desk, "quarantine", "list", "--reason", "not_json", "--format", "json")
    (row,) = json.loads(listed.stdout)
    shown = json.loads(shoplake(desk, "quarantine", "show", row["id"], "--format", "json").stdout)
    assert (shown["value"], shown["status"]) == ("{", "open")
    explained = json.loads(shoplake(desk, "quarantine", "explain", row["id"], "--format", "json").stdout)
    assert (explained["replay_would"], len(explained["wrong_today"])) == ("be refused again", 1)
    again = shoplake(desk, "quarantine", "replay", row["id"], "--format", "json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["still_refused_by_reason"] == {"not_json": 1}
    assert shoplake(desk, "quarantine", "replay").returncode == 2
    assert shoplake(desk, "quarantine", "explain", "shop.clicks-0-999999").returncode == 1
    assert shoplake(desk, "quarantine", "show", "nonsense").returncode == 2


def run_job(desk: Shop, name: str, **parameters: Any) -> dict[str, Any]:
    """The result of a run that goes through the registry, as the schedule's own runs do at their time."""
    given = [text for key, value in parameters.items() for text in ("-p", f"{key}={value}")]
    done = shoplake(desk, "run", name, *given, "--wait", "--format", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def blocked_tables(desk: Shop) -> dict[str, list[str]]:
    with open_sql(desk.settings) as reader:
        return blocked_by(failing(reader.query))


def held_back(desk: Shop) -> dict[str, str]:
    return {row["table_name"]: row["held_by"] for row in published(desk.settings) if row["held_by"]}


def test_the_books_balance_after_all_that(desk: Shop) -> None:
    assert run_job(desk, "reconcile")["bronze"] > 20
    assert run_job(desk, "reconcile")["partitions"] == 0, "what has been reconciled is not looked at again"


def test_maintenance_says_what_it_merged_and_loses_nothing(desk: Shop, lake: Lake) -> None:
    for change in ("one", "two"):  # a file each; what the stream writes, it merges itself
        row = ("none", change, 1, NOW)
        lake.append(schema_changes.TABLE, lake.spark.createDataFrame([row], schema_changes.TABLE.schema))
    done = run_job(desk, "maintenance")
    assert [row["table"] for row in done["maintained"]] == [table.full_name for table in TABLES]
    of_table = {row["table"]: row for row in done["maintained"]}
    small = of_table[schema_changes.TABLE.full_name]
    assert small["compacted_files"] > small["compacted_into"] > 0
    assert desk.ask("select count(*) as n from ops.migrations where table_name = 'none'") == [{"n": 2}]
    assert of_table["silver.events"]["deleted_bytes"] == 0, "nothing is old enough"
    assert_identity(desk)


def test_a_lost_event_is_named(desk: Shop, lake: Lake) -> None:
    path = lake.path(silver_events.TABLE)
    (lost,) = lake.read(silver_events.TABLE).where("event_id = 'view-3'").collect()
    lake.spark.sql(f"DELETE FROM delta.`{path}` WHERE event_id = 'view-3'").collect()
    failed = shoplake(desk, "reconcile", "--full")
    lake.append(silver_events.TABLE, lake.spark.createDataFrame([lost], silver_events.TABLE.schema))
    assert failed.returncode == 1
    assert f"{lost['topic']} partition {lost['partition']}" in failed.stderr
    assert f"offset {lost['offset']} on are in neither silver nor quarantine" in failed.stderr
    assert shoplake(desk, "reconcile", "--full").returncode == 0


def test_poisoned_gold_is_blocked_until_it_is_right(desk: Shop, lake: Lake) -> None:
    table, expectation = "gold.kpis_hourly", "gold.kpis_hourly.conversion_is_a_rate"
    sound = run_job(desk, "quality")
    assert (sound["blocking"], sound["expectations"]) == ([], sum(len(suite.expectations) for suite in SUITES))
    assert blocked_tables(desk) == {}
    old = (NOW - AGES[-1]).date()
    poison = f"UPDATE delta.`{lake.path(kpis.TABLE)}` SET conversion_rate = 50 WHERE hour_date = '{old}'"
    lake.spark.sql(poison).collect()
    eventually(lambda: held_back(desk) == {table: expectation}, 60, "the audit holds it back before any job looks")
    assert run_job(desk, "quality", tables=table)["blocking"] == [expectation]
    assert blocked_tables(desk) == {table: [expectation]}
    assert shoplake(desk, "quality", "status").returncode == 1

    allowed = shoplake(desk, "quality", "override", expectation, "--for", "30m", "--reason", "a test")
    assert allowed.returncode == 0, allowed.stderr
    assert blocked_tables(desk) == {}
    assert desk.ask("select reason from ops.quality_overrides") == [{"reason": "a test"}]
    eventually(lambda: held_back(desk) == {}, 60, "an override lets it through")
    lake.small.overwrite(results.OVERRIDES, lake.small.read(results.OVERRIDES).slice(0, 0))
    assert blocked_tables(desk) == {table: [expectation]}

    assert run_job(desk, "quality", scope="incremental")["blocking"] == [expectation], "the old day is judged again"
    hours = {clock.number_of(NOW - AGES[-1])}
    GoldRefresh(lake).restate_beside_stream(hours)
    eventually(lambda: held_back(desk) == {}, 60, "once it is right it is published, also before a job looks")
    assert run_job(desk, "quality", scope="incremental")["blocking"] == []
    assert blocked_tables(desk) == {}
    # What came in the ten minutes before the last run is judged again.
    marks.move(lake, "quality", "", datetime.now(UTC) + timedelta(minutes=10))
    assert run_job(desk, "quality", scope="incremental")["days"] == 0, "nothing has changed since"
    whole = run_job(desk, "quality", scope="full")
    assert (whole["scope"], whole["days"]) == ("full", None)
    scheduled = run_job(desk, "quality", **JOBS["quality"].scheduled_with)
    assert (scheduled["scope"], scheduled["blocking"]) == ("incremental", []), "everything was judged today"


def test_unknown_fields_are_reported_once(desk: Shop) -> None:
    odd = [view(number, 1.0, AGES[0]) for number in (500, 501)]
    events = [json.loads(record.value or b"") for record in odd]
    events[0] |= {"campaign": {"name": "autumn"}}
    events[1]["data"] |= {"colour": "red"}
    values = [json.dumps(event).encode() for event in events]
    publish([record._replace(value=value) for record, value in zip(odd, values, strict=True)], desk.settings)
    desk.wait_until_read()
    for _ in range(2):
        assert run_job(desk, "quality", tables="ops.batches")["unknown_fields"] == 2
    found = desk.ask("select path, count, sample from ops.unknown_fields order by path")
    assert found == [
        {"path": "campaign", "count": 1, "sample": '{"name":"autumn"}'},
        {"path": "data.colour", "count": 1, "sample": '"red"'},
    ]


def test_the_events_of_a_list_come_home_and_the_list_is_resolved_with_the_last(desk: Shop, lake: Lake) -> None:
    good, twin, astray = view(600, 1.0, AGES[0]), view(601, 1.0, AGES[3]), purchase(602, VIEWS, "u602", AGES[1])
    priced = view(603, "1,50", AGES[0])
    listed = b"[%s]" % b",".join(each.value or b"" for each in (good, twin, astray, priced, good))
    publish([Record(VIEWS, b"batch", listed, time.time())], desk.settings)
    desk.wait_until_read()
    fix = "strip; route; rekey"
    tried = replayed(lake, dry_run="true", reason="not_an_object", fix=fix)
    assert (tried["acceptable"], tried["still_refused_by_reason"]["wrong_type"]) == (4, 1)
    status = f"select status from silver.quarantine where octet_length(value) = {len(listed)}"
    done = replayed(lake, reason="not_an_object", fix=fix)
    assert (done["accepted"] + done["duplicate"], done["resolved"]) == (4, 0)
    assert desk.ask(status) == [{"status": "open"}]
    done = replayed(lake, reason="not_an_object", fix=f"{fix}; cast data.price=number")
    assert (done["accepted"], done["known"], done["resolved"]) == (1, 4, 1)
    assert desk.ask(status) == [{"status": "resolved"}]
    assert set(event_ids(desk)) >= {"view-600", "view-601", "buy-602", "view-603"}
    assert_identity(desk)


def test_events_without_an_id_come_home_once_each_however_often(desk: Shop, lake: Lake) -> None:
    with_id = [view(number, 1.0, AGES[0]) for number in (700, 701)]
    events = [json.loads(record.value or b"") for record in with_id]
    values = [json.dumps({**event, "event_id": None}).encode() for event in events]
    publish([record._replace(value=value) for record, value in zip(with_id, values, strict=True)], desk.settings)
    desk.wait_until_read()
    for accepted in (2, 0):
        assert replayed(lake, reason="missing_field", fix="identify")["accepted"] == accepted
    home = desk.ask("select user_id from silver.events where starts_with(event_id, 'shop.page_views-') order by 1")
    assert home == [{"user_id": "u700"}, {"user_id": "u701"}]
    assert_identity(desk)
