"""When older hours are restated: together, not too often while batches come, and at once when none do."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from lakehouse import hours as clock
from lakehouse import live_gold, recovery
from lakehouse.live_gold import LATE_REFRESH_SECONDS, LONGEST_PAUSE_SECONDS, LiveGold

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
OLD_HOUR = clock.number_of(NOW - timedelta(days=1))


class Time:
    """A clock that moves when told; work takes as long as `work_seconds` says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.work_seconds = 0.0

    def monotonic(self) -> float:
        return self.now


class Refresh:
    """Remembers what it was asked to restate."""

    def __init__(self, time: Time) -> None:
        self.restated: list[set[int]] = []
        self.live_hours: list[set[int]] = []
        self._time = time

    def restate(self, hours: set[int], _now: datetime) -> None:
        self.restated.append(set(hours))
        self._time.now += self._time.work_seconds

    def live(self, _hot: None, touched: set[int], _now: datetime) -> None:
        self.live_hours.append(set(touched))

    def last_hour(self, *_: Any) -> None: ...

    def fraud(self, *_: Any) -> None: ...


class Window:
    """A hot window that begins two hours before NOW and holds nothing."""

    complete_from = NOW.replace(minute=0) - timedelta(hours=2)

    def events(self) -> None: ...

    def before(self, hours: set[int]) -> set[int]:
        return {hour for hour in hours if hour < clock.number_of(self.complete_from)}


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(live_gold, "time", made)
    return made


@pytest.fixture
def refresh(moving: Time, monkeypatch: pytest.MonkeyPatch) -> Refresh:
    made = Refresh(moving)
    monkeypatch.setattr(live_gold, "GoldRefresh", lambda _lake: made)
    return made


@pytest.fixture
def gold(refresh: Refresh, monkeypatch: pytest.MonkeyPatch) -> LiveGold:
    monkeypatch.setattr(recovery, "late_hours", lambda _lake, _before: set())
    lake: Any = SimpleNamespace(settings=SimpleNamespace(lateness_minutes=60))
    window: Any = Window()
    made = LiveGold(lake, window, NOW)
    made.idle(NOW)
    return made


def batch(gold: LiveGold, hour: int = OLD_HOUR) -> None:
    gold.after_batch({hour}, [], NOW)
    gold.work_beside(NOW)
    settle(gold)


def settle(gold: LiveGold) -> None:
    while gold._beside is not None and not gold._beside.done():
        time.sleep(0.001)


def test_late_hours_wait_for_each_other(gold: LiveGold, refresh: Refresh, moving: Time) -> None:
    batch(gold)
    batch(gold, OLD_HOUR + 1)
    assert refresh.restated == []
    moving.now += LATE_REFRESH_SECONDS
    batch(gold, OLD_HOUR + 2)
    assert refresh.restated == [{OLD_HOUR, OLD_HOUR + 1, OLD_HOUR + 2}]


def test_hours_wait_for_long_only_when_none_of_them_gets_its_turn(gold: LiveGold, moving: Time) -> None:
    """With late events in every batch some hour always waits: the book must not say so for ever."""
    for minute in range(20):
        batch(gold, OLD_HOUR + minute)
        moving.now += 60.0
        assert (gold._late or gold._restating) and not gold.waits_for_long
    gold.after_batch({OLD_HOUR}, [], NOW)
    moving.now += live_gold.LONG_SECONDS + 1
    assert gold.waits_for_long
    for _ in range(2):
        batch(gold, clock.number_of(NOW))
    assert not gold.waits_for_long


def test_a_hot_hour_that_was_restated_is_written_from_memory_again(
    gold: LiveGold, refresh: Refresh, moving: Time
) -> None:
    """The restatement read silver before the newest batch came: it must not stay."""
    hot_hour = clock.number_of(Window.complete_from)
    gold.after_batch({hot_hour}, [Window.complete_from + timedelta(minutes=10)], NOW)
    moving.now += LATE_REFRESH_SECONDS
    gold.work_beside(NOW)
    settle(gold)
    assert refresh.restated == [{hot_hour}]
    running = clock.number_of(NOW)
    for _ in range(2):  # the first one sees that it is done
        batch(gold, running)
    assert refresh.live_hours[-1] == {running, hot_hour}


def test_batches_get_the_machine_for_a_while_after_a_long_restatement(
    gold: LiveGold, refresh: Refresh, moving: Time
) -> None:
    moving.work_seconds = 30.0
    batch(gold)
    moving.now += LATE_REFRESH_SECONDS
    batch(gold)
    assert len(refresh.restated) == 1
    batch(gold)
    moving.now += LONGEST_PAUSE_SECONDS - 1
    batch(gold)
    assert len(refresh.restated) == 1
    moving.now += 1
    batch(gold)
    assert len(refresh.restated) == 2


def test_nothing_waits_when_no_events_come(gold: LiveGold, refresh: Refresh, moving: Time) -> None:
    moving.work_seconds = 30.0
    batch(gold)
    moving.now += LATE_REFRESH_SECONDS
    batch(gold)
    batch(gold)
    moving.now += LATE_REFRESH_SECONDS
    gold.idle(NOW)
    settle(gold)
    assert len(refresh.restated) == 2
