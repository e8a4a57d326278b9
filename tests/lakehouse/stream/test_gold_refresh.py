"""Rows of gold give way to those of the same hours, or flags of the same range, and to no others."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from gold import fraud, kpis, top_products
from lakehouse import hours as clock
from lakehouse.lake import arrow_schema
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables
from lakehouse.stream import gold_refresh
from lakehouse.stream.gold_refresh import different_hours, replace_flags, replace_hours
from lakehouse.table import Table
from tests.support.memory_s3 import memory_lake

Row = dict[str, Any]
HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVENING = datetime(2026, 3, 2, 23, tzinfo=UTC)
TENTH = Decimal("0.1")
LATER = NOON + timedelta(days=1)
BUCKETS = count()
ADDED = ("status", "updated_at", "hour_date")
"""By whoever writes the table."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with memory_lake(tmp_path_factory.mktemp("lake")) as made:
        yield made


@pytest.fixture
def small(server: Settings) -> SmallTables:
    """Gold without rows."""
    made = SmallTables(server.model_copy(update={"bucket": f"lake-{next(BUCKETS)}"}))
    for table in (kpis.TABLE, top_products.HOURLY, fraud.TABLE):
        made.create(table)
    return made


def rows(table: Table, *given: Row) -> pa.Table:
    return pa.Table.from_pylist(list(given), arrow_schema(table))


def version(small: SmallTables, table: Table) -> int:
    return int(small.history(table, 1)[0]["version"])


# --- hours ----------------------------------------------------------------------------------------------------------


def figures(hour: datetime, clicks: int, **others: Any) -> Row:
    return {"hour_start": hour, "clicks": clicks, **others}


def product(hour: datetime, rank: int, product_id: str, **others: Any) -> Row:
    return {"hour_start": hour, "rank": rank, "product_id": product_id, "views": 5, **others}


def replaced(
    small: SmallTables, table: Table, *fresh: Row, hours: list[datetime], now: datetime = NOON, closed: int = 0
) -> list[str]:
    made = rows(table, *fresh).drop_columns([name for name in ADDED if name in table.columns])
    before = replace_hours(small, table, made, {clock.number_of(hour) for hour in hours}, now, closed)
    return different_hours(table, before, made)


def clicks(small: SmallTables) -> dict[datetime, int]:
    found = small.read(kpis.TABLE).to_pylist()
    assert len(found) == len({row["hour_start"] for row in found})
    return {row["hour_start"]: row["clicks"] for row in found}


def test_hours_that_are_not_wanted_stay(small: SmallTables) -> None:
    """In the days of those that are, and in others."""
    hours = [EVENING - HOUR, EVENING, EVENING + HOUR, EVENING + 2 * HOUR, EVENING + 48 * HOUR]
    replaced(small, kpis.TABLE, *(figures(hour, 1) for hour in hours), hours=hours)
    replaced(small, kpis.TABLE, *(figures(hour, 2) for hour in hours[1:3]), hours=hours[1:3])
    assert clicks(small) == dict(zip(hours, [1, 2, 2, 1, 1], strict=True))


def test_an_hour_without_rows_has_none_afterwards(small: SmallTables) -> None:
    replaced(small, kpis.TABLE, figures(NOON, 1), figures(NOON + HOUR, 1), hours=[NOON, NOON + HOUR])
    assert replaced(small, kpis.TABLE, hours=[NOON]) == ["gold.kpis_hourly 2026-03-02 12:00"]
    assert clicks(small) == {NOON + HOUR: 1}


def test_what_was_not_so_before_is_told(small: SmallTables) -> None:
    hours = [NOON, NOON + HOUR, NOON + 2 * HOUR, EVENING + HOUR]
    replaced(small, kpis.TABLE, *(figures(hour, 1, revenue=TENTH) for hour in hours[:3]), hours=hours)
    fresh = [
        figures(NOON, 1, revenue=Decimal("0.1")),
        figures(hours[1], 2, revenue=Decimal("0.1")),
        figures(hours[3], 1),
    ]
    told = replaced(small, kpis.TABLE, *fresh, hours=hours)
    assert told == [
        f"gold.kpis_hourly {moment}" for moment in ("2026-03-02 13:00", "2026-03-02 14:00", "2026-03-03 00:00")
    ]


def test_when_an_hour_was_written_and_whether_it_is_final_is_no_difference(small: SmallTables) -> None:
    noon = clock.number_of(NOON)
    before = [product(NOON, 1, "a", product_name="A"), product(NOON, 2, "b")]
    replaced(small, top_products.HOURLY, *before, hours=[NOON], closed=noon - 1)
    assert written(small) == {(1, "provisional", NOON), (2, "provisional", NOON)}
    assert replaced(small, top_products.HOURLY, *before, hours=[NOON], now=LATER, closed=noon) == []
    assert written(small) == {(1, "final", LATER), (2, "final", LATER)}
    renamed = [{**before[0], "product_name": None}, before[1]]
    assert replaced(small, top_products.HOURLY, *renamed, hours=[NOON]) == ["gold.top_products_hourly 2026-03-02 12:00"]


def written(small: SmallTables) -> set[tuple[Any, ...]]:
    found = small.read(top_products.HOURLY).to_pylist()
    return {(row["rank"], row["status"], row["updated_at"]) for row in found}


def test_columns_may_come_in_any_order_or_not_at_all(small: SmallTables) -> None:
    """As DuckDB tells them."""
    row = figures(NOON, 3, revenue=Decimal("1.5"))
    fresh = rows(kpis.TABLE, row).select(["revenue", "clicks", "hour_start"])
    for expected in (["gold.kpis_hourly 2026-03-02 12:00"], []):
        before = replace_hours(small, kpis.TABLE, fresh, {clock.number_of(NOON)}, LATER, 0)
        assert different_hours(kpis.TABLE, before, fresh) == expected
        stamped = {**row, "updated_at": LATER, "hour_date": NOON.date()}
        assert small.read(kpis.TABLE).to_pylist() == [{**dict.fromkeys(kpis.TABLE.columns), **stamped}]


def test_without_hours_nothing_is_written(small: SmallTables) -> None:
    before = version(small, kpis.TABLE)
    assert replaced(small, kpis.TABLE, hours=[]) == []
    assert version(small, kpis.TABLE) == before


# --- flags ----------------------------------------------------------------------------------------------------------


def flag(flag_id: str, at: datetime = NOON, evidence: tuple[str, ...] = ("e1", "e2"), detected: datetime = NOON) -> Row:
    row = {"flag_id": flag_id, "event_time": at, "event_date": at.date(), "evidence": list(evidence)}
    return {**row, "detected_at": detected, "user_id": "u1", "rule_version": 1, "score": 0.5}


def scan(small: SmallTables, *found: Row, begin: datetime = NOON, end: datetime = NOON + HOUR) -> int:
    return replace_flags(small, rows(fraud.TABLE, *found), [(begin, end)])


def flags(small: SmallTables) -> dict[str, Row]:
    found = small.read(fraud.TABLE).to_pylist()
    assert len(found) == len({row["flag_id"] for row in found})
    return {row["flag_id"]: row for row in found}


def test_a_flag_keeps_when_it_was_detected(small: SmallTables) -> None:
    assert scan(small, flag("old")) == 1
    assert scan(small, flag("old", evidence=("e1", "e2", "e3"), detected=LATER), flag("new", detected=LATER)) == 1
    found = flags(small)
    assert {name: row["detected_at"] for name, row in found.items()} == {"old": NOON, "new": LATER}
    assert found["old"]["evidence"] == ["e1", "e2", "e3"]
    assert found["old"] == {**dict.fromkeys(fraud.TABLE.columns), **flag("old", evidence=("e1", "e2", "e3"))}


def test_evidence_that_grows_is_written(small: SmallTables) -> None:
    scan(small, flag("a", evidence=("e1", "e2")))
    assert scan(small, flag("a", evidence=("e1", "e2", "e3"))) == 0
    assert flags(small)["a"]["evidence"] == ["e1", "e2", "e3"]


def test_a_flag_that_is_no_longer_found_vanishes(small: SmallTables) -> None:
    scan(small, flag("a"), flag("b", NOON + HOUR - MICROSECOND))
    assert scan(small, flag("b", NOON + HOUR - MICROSECOND)) == 0
    assert set(flags(small)) == {"b"}
    assert scan(small) == 0
    assert flags(small) == {}


def test_flags_outside_of_the_ranges_stay(small: SmallTables) -> None:
    edges = {"before": NOON - MICROSECOND, "first": NOON, "after": NOON + HOUR, "tomorrow": LATER}
    scan(small, *(flag(name, at) for name, at in edges.items()), begin=NOON - HOUR, end=LATER + HOUR)
    ranges = [(NOON, NOON + HOUR), (EVENING, EVENING + 2 * HOUR)]
    new = flag("midnight", EVENING + HOUR)
    assert replace_flags(small, rows(fraud.TABLE, new), ranges) == 1
    assert set(flags(small)) == {"before", "after", "tomorrow", "midnight"}


def test_nothing_is_written_when_the_same_is_found(small: SmallTables) -> None:
    before = version(small, fraud.TABLE)
    assert scan(small) == 0
    assert version(small, fraud.TABLE) == before
    scan(small, flag("a"), flag("b"))
    assert scan(small, flag("b", detected=LATER), flag("a", detected=LATER)) == 0
    assert version(small, fraud.TABLE) == before + 1
    assert {row["detected_at"] for row in flags(small).values()} == {NOON}


def test_a_flag_that_another_writes_meanwhile_stays_detected_then(
    small: SmallTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job and the stream find the same one."""
    replace_days = SmallTables.replace_days

    def meanwhile(self: SmallTables, *args: Any) -> None:
        monkeypatch.setattr(SmallTables, "replace_days", replace_days)
        assert scan(SmallTables(small._settings), flag("theirs", detected=NOON)) == 1
        self.replace_days(*args)

    monkeypatch.setattr(SmallTables, "replace_days", meanwhile)
    assert scan(small, flag("theirs", detected=LATER), flag("ours", detected=LATER)) == 1
    assert {name: row["detected_at"] for name, row in flags(small).items()} == {"theirs": NOON, "ours": LATER}


def test_tables_of_an_hour_are_written_when_all_are_computed(
    small: SmallTables, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate compares them: between two writes it would find one that does not fit the other."""
    told: list[str] = []

    def computing(table: Table) -> Table:
        def hourly(_events: Any, _settings: Settings) -> Any:
            told.append(f"compute {table.name}")
            return SimpleNamespace(toArrow=lambda: rows(table).drop_columns([n for n in ADDED if n in table.columns]))

        return replace(table, hourly=hourly)

    lake: Any = SimpleNamespace(small=small, settings=server)
    refresh = gold_refresh.GoldRefresh(lake)
    silver = SimpleNamespace(where=lambda _: silver)
    monkeypatch.setattr(refresh, "_events", lambda _: silver)
    monkeypatch.setattr(clock, "is_in", lambda _: None)
    monkeypatch.setattr(gold_refresh, "materialized", lambda frame: frame)
    write = gold_refresh.replace_hours

    def writing(small: SmallTables, table: Table, *given: Any) -> pa.Table | None:
        told.append(f"write {table.name}")
        return write(small, table, *given)

    monkeypatch.setattr(gold_refresh, "replace_hours", writing)
    refresh.restate({1}, NOON, (computing(top_products.HOURLY), computing(kpis.TABLE)))
    assert told == [f"{do} {name}" for do in ("compute", "write") for name in ("top_products_hourly", "kpis_hourly")]
