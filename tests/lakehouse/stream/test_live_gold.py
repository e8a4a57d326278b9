"""When gold is written: the window with every batch; older hours together, not too often while batches come, and at
once when none do; flags every few seconds."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from gold.fraud_rules import CONTEXT
from lakehouse import hours as clock
from lakehouse.hours import micros
from lakehouse.stream import live_gold, recovery
from lakehouse.stream.fold import Taken, frontier_at
from lakehouse.stream.live_gold import LATE_SECONDS, LONGEST_PAUSE, SCAN_SECONDS, STRAGGLER_SECONDS, LiveGold

NOW = datetime(2026, 5, 1, 12, 45, tzinfo=UTC)
FIRST_HOUR = clock.number_of(frontier_at(NOW))
RUNNING = clock.number_of(NOW)
OLD_HOUR = clock.number_of(NOW - timedelta(days=1))


class Time:
    """A clock that moves when told; a restatement takes as long as `work_seconds` says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.work_seconds = 0.0

    def monotonic(self) -> float:
        return self.now


class Written:
    """What was asked for: hours written from the fold, hours restated, and where scans for flags began."""

    def __init__(self, moving: Time) -> None:
        self.live: list[set[int]] = []
        self.rolling = 0
        self.restated: list[set[int]] = []
        self.scans: list[datetime] = []
        self.late: list[tuple[datetime, datetime]] = []
        self.different: list[str] = []
        self.verdicts: list[Any] = []
        self.may_end = threading.Event()
        self.may_end.set()
        self._time = moving

    def restate(self, hours: set[int], _now: datetime) -> list[str]:
        self.restated.append(set(hours))
        self.may_end.wait(10)
        self._time.now += self._time.work_seconds
        return self.different

    def overwrite(self, *_: Any) -> None:
        self.rolling += 1

    def replace_hours(self, _small: Any, table: Any, _rows: Any, hours: set[int], *_: Any) -> None:
        if table.name == "kpis_hourly":
            self.live.append(set(hours))

    def late_flags(self, _lake: Any, begin: datetime, end: datetime, _now: datetime) -> str:
        self.late.append((begin, end))
        return "flags"

    def flags(self, _reader: Any, _events: str, emit_from: int, _to: int, _now: datetime) -> str:
        self.scans.append(clock.start_of(0) + timedelta(microseconds=emit_from))
        return "flags"


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(live_gold, "time", made)
    return made


@pytest.fixture
def written(moving: Time, monkeypatch: pytest.MonkeyPatch) -> Written:
    made = Written(moving)
    monkeypatch.setattr(live_gold, "GoldRefresh", lambda _lake: made)
    monkeypatch.setattr(live_gold, "replace_hours", made.replace_hours)
    monkeypatch.setattr(live_gold, "replace_flags", lambda *_: 0)
    monkeypatch.setattr(live_gold.fraud_live, "flags", made.flags)
    monkeypatch.setattr(live_gold.late_flags, "flags", made.late_flags)
    monkeypatch.setattr(recovery, "late_hours", lambda _lake, _before: set())
    return made


class Fold:
    """A fold without rows, whose window begins two hours before NOW."""

    first_hour = FIRST_HOUR

    def rows(self, *_: Any) -> pa.Table:
        return pa.table({"hour_start": pa.array([], pa.timestamp("us", "UTC"))})

    def snapshot(self) -> Any:
        import contextlib

        return contextlib.nullcontext()


@pytest.fixture
def gold(written: Written, tmp_path: Path) -> LiveGold:
    report = tmp_path / "gold.json"
    settings = SimpleNamespace(lateness_minutes=15, top_n=10, currency=None, max_future_minutes=5, gold_report=report)
    small = SimpleNamespace(overwrite=written.overwrite)
    lake: Any = SimpleNamespace(
        settings=settings, small=small, append_rows=lambda _table, rows: written.verdicts.extend(rows)
    )
    state: Any = Fold()
    made = LiveGold(lake, state, NOW)
    made.idle(NOW)
    settle(made)
    written.live.clear()
    written.scans.clear()
    return made


def taken(*hours: int, oldest: datetime | None = None) -> Taken:
    nothing = pa.table({})
    inside, late = {h for h in hours if h >= FIRST_HOUR}, {h for h in hours if h < FIRST_HOUR}
    moment = oldest or (NOW if inside else None)
    return Taken(nothing, inside, late, micros(moment) if moment else None, nothing)


def batch(gold: LiveGold, *hours: int, oldest: datetime | None = None) -> None:
    gold.after_batch(taken(*(hours or (OLD_HOUR,)), oldest=oldest), NOW)
    gold.work_beside(NOW)
    settle(gold)


def settle(gold: LiveGold) -> None:
    for work in (gold._recompute, gold._scanning):
        if work is not None:
            work.result()


def test_every_batch_writes_the_hours_that_it_touched_and_the_rolling_hour(gold: LiveGold, written: Written) -> None:
    before = written.rolling
    batch(gold, RUNNING)
    batch(gold, RUNNING, RUNNING - 1)
    assert written.live == [{RUNNING}, {RUNNING, RUNNING - 1}]
    assert written.rolling == before + 2


def test_late_hours_wait_for_each_other(gold: LiveGold, written: Written, moving: Time) -> None:
    batch(gold)
    batch(gold, OLD_HOUR + 1)
    assert written.restated == []
    moving.now += LATE_SECONDS
    batch(gold, OLD_HOUR + 2)
    assert written.restated == [{OLD_HOUR, OLD_HOUR + 1, OLD_HOUR + 2}]
    first = clock.start_of(OLD_HOUR)
    assert written.late == [(first, first + timedelta(hours=3) + CONTEXT)]


def test_late_hours_wait_for_the_end_of_a_backlog(gold: LiveGold, written: Written, moving: Time) -> None:
    gold.after_batch(taken(OLD_HOUR), NOW)
    moving.now += LATE_SECONDS
    gold.work_beside(NOW, in_backlog=True)
    settle(gold)
    assert written.restated == []
    batch(gold, OLD_HOUR + 1)
    assert written.restated == [{OLD_HOUR, OLD_HOUR + 1}]


def test_hours_wait_for_long_only_when_none_of_them_gets_its_turn(gold: LiveGold, moving: Time) -> None:
    """With late events in every batch some hour always waits: the book must not say so for ever."""
    for minute in range(20):
        batch(gold, OLD_HOUR + minute % 10)
        moving.now += 60.0
        assert (gold._late or gold._restating) and not gold.waits_for_long
    gold.after_batch(taken(OLD_HOUR), NOW)
    moving.now += live_gold.LONG_SECONDS + 1
    assert gold.waits_for_long
    for _ in range(3):
        batch(gold, RUNNING)
    assert not gold.waits_for_long


def test_an_hour_that_grew_while_it_was_restated_is_written_again(
    gold: LiveGold, written: Written, moving: Time
) -> None:
    """The restatement may have read silver before the newest batch came: it must not stay."""
    begin = clock.start_of(FIRST_HOUR)
    batch(gold, FIRST_HOUR, OLD_HOUR, oldest=begin + timedelta(minutes=10))
    moving.now += LATE_SECONDS
    gold.work_beside(NOW)
    assert gold._restating == {FIRST_HOUR, OLD_HOUR}
    gold.after_batch(taken(FIRST_HOUR, OLD_HOUR, oldest=NOW), NOW)
    settle(gold)
    for _ in range(2):  # the first one sees that it is done
        batch(gold, RUNNING)
    assert written.live[-1] == {RUNNING, FIRST_HOUR}
    assert gold._late == {OLD_HOUR}


def test_batches_get_the_machine_for_a_while_after_a_long_restatement(
    gold: LiveGold, written: Written, moving: Time
) -> None:
    moving.work_seconds = LONGEST_PAUSE
    batch(gold)
    moving.now += LATE_SECONDS
    batch(gold)
    assert len(written.restated) == 1
    batch(gold)
    moving.now += LONGEST_PAUSE - 1
    batch(gold)
    assert len(written.restated) == 1
    moving.now += 1
    batch(gold)
    assert len(written.restated) == 2


def test_nothing_waits_when_no_events_come(gold: LiveGold, written: Written, moving: Time) -> None:
    moving.work_seconds = 30.0
    batch(gold)
    moving.now += LATE_SECONDS
    batch(gold)
    batch(gold)
    moving.now += LATE_SECONDS
    gold.idle(NOW)
    settle(gold)
    assert len(written.restated) == 2


def test_an_hour_that_closes_is_recomputed_and_a_difference_is_told(
    gold: LiveGold, written: Written, moving: Time
) -> None:
    closes = NOW.replace(hour=13, minute=15)
    written.different = ["gold.kpis_hourly 2026-05-01 12:00", "gold.kpis_hourly 2026-04-30 12:00"]
    gold.idle(closes)
    moving.now += LATE_SECONDS
    gold.idle(closes)
    settle(gold)
    assert written.restated == [{RUNNING}] and not written.late
    gold.idle(closes)
    ((_run, _at, table, expectation, severity, success, observed, *_),) = written.verdicts
    assert (table, expectation, severity, success) == (*live_gold.EQUALS_HISTORY, False)
    assert json.loads(observed) == ["gold.kpis_hourly 2026-05-01 12:00"]


def test_flags_are_looked_for_from_the_oldest_new_event_on(gold: LiveGold, written: Written, moving: Time) -> None:
    moving.now += SCAN_SECONDS
    batch(gold, RUNNING, oldest=NOW - timedelta(seconds=3))
    batch(gold, RUNNING, oldest=NOW - timedelta(seconds=2))
    assert written.scans == [NOW - timedelta(seconds=3)]
    moving.now += SCAN_SECONDS
    batch(gold, RUNNING, oldest=NOW - timedelta(seconds=1))
    assert written.scans[1:] == [NOW - timedelta(seconds=2)]


def test_a_long_restatement_does_not_hold_up_flags(gold: LiveGold, written: Written, moving: Time) -> None:
    written.may_end.clear()
    gold.after_batch(taken(OLD_HOUR), NOW)
    moving.now += LATE_SECONDS
    gold.work_beside(NOW)
    gold.after_batch(taken(RUNNING, oldest=NOW), NOW)
    gold.work_beside(NOW)
    assert gold._scanning is not None
    gold._scanning.result(10)
    assert written.scans == [NOW] and gold._recompute is not None and not gold._recompute.done()
    written.may_end.set()
    settle(gold)


def test_flags_that_the_fold_tells_are_left_to_the_scans(gold: LiveGold, written: Written, moving: Time) -> None:
    gold.after_batch(taken(FIRST_HOUR - 1), NOW)
    moving.now += LATE_SECONDS
    gold.work_beside(NOW)
    settle(gold)
    assert written.late == [(clock.start_of(FIRST_HOUR - 1), clock.start_of(FIRST_HOUR) + CONTEXT)]


def test_flags_are_recomputed_after_a_scan_that_began_before_the_window_moved_on(
    gold: LiveGold, written: Written, moving: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would replace the flags of the same minutes, and the scan knows fewer events."""
    may_end = threading.Event()
    monkeypatch.setattr(live_gold, "replace_flags", lambda *_: may_end.wait(10) and 0)
    begin = clock.start_of(FIRST_HOUR) + timedelta(minutes=90)
    moving.now += STRAGGLER_SECONDS
    gold.after_batch(taken(OLD_HOUR, RUNNING, oldest=begin), NOW)
    gold.work_beside(NOW)
    assert gold._scanning is not None and gold._recompute is None
    monkeypatch.setattr(Fold, "first_hour", FIRST_HOUR + 1)
    moving.now += LATE_SECONDS
    gold.work_beside(NOW)
    assert gold._recompute is None
    may_end.set()
    settle(gold)
    gold.work_beside(NOW)
    settle(gold)
    assert written.restated == [{OLD_HOUR}]


def test_stragglers_wait_for_a_wide_scan(gold: LiveGold, written: Written, moving: Time) -> None:
    early, later = NOW - timedelta(minutes=40), NOW - timedelta(minutes=20)
    moving.now += STRAGGLER_SECONDS
    batch(gold, RUNNING, oldest=later)
    assert written.scans == [later]
    for _ in range(3):
        moving.now += SCAN_SECONDS
        batch(gold, RUNNING, oldest=early)
    assert set(written.scans[1:]) == {NOW - live_gold.RECENT}
    moving.now += STRAGGLER_SECONDS
    batch(gold, RUNNING)
    assert written.scans[-1] == early


def test_flags_before_what_the_fold_can_tell_are_left_to_silver(gold: LiveGold, written: Written) -> None:
    begin = clock.start_of(FIRST_HOUR)
    batch(gold, FIRST_HOUR, oldest=begin + timedelta(minutes=5))
    assert gold._late == {FIRST_HOUR}
    batch(gold, FIRST_HOUR + 1, oldest=begin + timedelta(minutes=65))
    assert gold._late == {FIRST_HOUR, FIRST_HOUR + 1}
    assert all(scan >= begin + timedelta(minutes=90) for scan in written.scans)
