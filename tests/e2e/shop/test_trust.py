"""The desk, the books and the gate by the commands of docs/how-to/quality.md, in short; the whole desk is nightly."""

import json
import shlex
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gold import kpis
from lakehouse import hours as clock
from lakehouse.jobs import replay_quarantine
from lakehouse.lake import Lake
from lakehouse.serving.file import open_serving, published, rows_of
from lakehouse.serving.held import how_held
from lakehouse.session import connect
from lakehouse.stream.gold_refresh import GoldRefresh
from producer.publish import publish
from silver import events as silver_events
from tests.support import pages
from tests.support.refused import AGES, NOW, assert_identity, replayed, view
from tests.support.shop import Shop, eventually, shoplake

pytestmark = pytest.mark.e2e
GATED, RULE = kpis.TABLE.full_name, f"{kpis.TABLE.full_name}.conversion_is_a_rate"
EXAMPLE = "shop.page_views-0-1042"


@pytest.fixture(scope="module")
def lake(shop: Shop) -> Iterator[Lake]:
    spark = connect(shop.settings)
    yield Lake(spark, shop.settings)
    spark.stop()


@pytest.fixture(scope="module")
def hour(shop: Shop) -> int:
    """One that has events, and that the stream does not restate any more."""
    long_ago = f"TIMESTAMPTZ '{NOW - AGES[-1]}'"
    found = shop.ask(f"select max(epoch(hour_start)) as last from gold.kpis_hourly where hour_start < {long_ago}")
    return int(found[0]["last"]) // 3600


def documented(beginning: str, record: str = "") -> tuple[str, ...]:
    """The arguments of the command of docs/how-to/quality.md that begins so, for this record instead of the page's."""
    commands = [line for block in pages.marked(__file__) for line in block.commands]
    (found,) = [line for line in commands if line.startswith(f"shoplake {beginning}")]
    return tuple(shlex.split(found.replace(EXAMPLE, record))[1:])


def told(shop: Shop, *arguments: str) -> Any:
    """What a command says as JSON."""
    done = shoplake(shop, *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_refused_record_is_looked_at_mended_and_brought_home(shop: Shop) -> None:
    publish([view(900, "19.90", AGES[0])], shop.settings)
    shop.wait_until_read()
    record = refused_of(shop, "u900")
    listed = told(shop, "quarantine", "list", "--reason", "wrong_type", "--limit", "500")
    assert record in [row["id"] for row in listed]
    assert told(shop, *documented("quarantine show", record))["status"] == "open"
    (wrong,) = told(shop, *documented("quarantine explain", record))["wrong_today"]
    assert wrong.startswith("wrong_type") and "price" in wrong
    fix = documented("quarantine replay", record)
    assert told(shop, *fix, "--dry-run")["acceptable"] == 1
    assert shop.ask("select * from silver.events where event_id = 'view-900'") == []
    assert told(shop, *fix)["accepted"] == 1
    home = told(shop, "quarantine", "show", record)
    assert home["status"] == "resolved" and home["resolved_by"]
    assert shop.ask("select price from silver.events where event_id = 'view-900'") == [{"price": Decimal("19.9")}]
    shop.wait_until_read()
    assert_identity(shop)


@pytest.mark.nightly
def test_a_replay_that_died_before_it_could_mark_brings_nothing_home_twice(
    shop: Shop, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_given: object) -> None:
        raise KeyboardInterrupt

    publish([view(901, "19.90", AGES[0])], shop.settings)
    shop.wait_until_read()
    how = {"ids": refused_of(shop, "u901"), "fix": "cast data.price=number"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(replay_quarantine, "resolve", die)
        replayed(lake, **how)
    again = replayed(lake, **how)
    assert (again["accepted"], again["known"], again["resolved"]) == (0, 1, 1)
    assert shop.ask("select count(*) as n from silver.events where event_id = 'view-901'") == [{"n": 1}]
    assert_identity(shop)


def test_the_books_balance_and_name_what_is_lost(shop: Shop, lake: Lake) -> None:
    assert told(shop, "reconcile", "--full")["bronze"] > 10_000
    (lost,) = lake.read(silver_events.TABLE).where("event_id = 'view-900'").collect()
    lake.spark.sql(f"DELETE FROM delta.`{lake.path(silver_events.TABLE)}` WHERE event_id = 'view-900'").collect()
    failed = shoplake(shop, "reconcile", "--full")
    lake.append(silver_events.TABLE, lake.spark.createDataFrame([lost], silver_events.TABLE.schema))
    assert failed.returncode == 1
    assert f"{lost['topic']} partition {lost['partition']}" in failed.stderr
    assert f"offset {lost['offset']} on are in neither silver nor quarantine" in failed.stderr
    kept = shop.ask("select is_balanced, first_fault from ops.ledger_results order by checked_at desc limit 2")
    assert [row["is_balanced"] for row in kept] == [False, True]
    assert str(kept[0]["first_fault"]) in failed.stderr


def test_poisoned_gold_is_held_back_let_through_and_published_once_it_is_right(
    shop: Shop, lake: Lake, hour: int
) -> None:
    right = served(shop, hour)
    of_hour = f"hour_start = TIMESTAMP '{clock.start_of(hour):%Y-%m-%d %H:%M:%S}'"
    lake.spark.sql(f"UPDATE delta.`{lake.path(kpis.TABLE)}` SET conversion_rate = 50 WHERE {of_hour}").collect()
    eventually(lambda: held_back(shop) == {GATED: f"1 row: {RULE}"}, 90, "the audit holds the hour back")
    assert served(shop, hour) is None
    assert gate(shop) == f"{GATED}: 1 row: {RULE}"
    status = shoplake(shop, *documented("quality status"))
    assert status.returncode == 1 and f"Of {GATED} rows are held back" in status.stdout
    allowed = shoplake(shop, *documented("quality override"))
    assert allowed.returncode == 0, allowed.stderr
    eventually(lambda: served(shop, hour) == 50, 90, "an override lets it through")
    assert shop.ask("select reason from ops.quality_overrides") == [{"reason": "known, being fixed"}]
    GoldRefresh(lake).restate_beside_stream({hour})
    eventually(lambda: served(shop, hour) == right, 90, "once it is right it is published")
    eventually(lambda: gate(shop) == "ok" and not let_through(shop), 90, "nothing is held back or let through")


def refused_of(shop: Shop, user: str) -> str:
    """The name of the only refused record of a user."""
    question = 'select topic, "partition", "offset" from silver.quarantine where decode(key) = '
    (place,) = shop.ask(f"{question}'{user}'")
    return "-".join(str(part) for part in place.values())


def served(shop: Shop, hour: int) -> float | None:
    """The conversion rate of the hour that dashboards see; None without the hour."""
    question = f"SELECT conversion_rate FROM {GATED} WHERE hour_start = '{clock.start_of(hour):%Y-%m-%d %H:%M:%S}'"
    with open_serving(shop.settings.serving_file) as serving:
        return next((float(row["conversion_rate"]) for row in rows_of(serving, question)), None)


def held_back(shop: Shop) -> dict[str, str]:
    return {row["table_name"]: said for row in published(shop.settings) if (said := how_held(row))}


def let_through(shop: Shop) -> list[str]:
    return [row["table_name"] for row in published(shop.settings) if row["let_through"]]


def gate(shop: Shop) -> str:
    """What /readyz says of the gate."""
    return str(httpx.get(f"{shop.settings.own_api_url}/readyz", timeout=30).json()["checks"]["gate"])
