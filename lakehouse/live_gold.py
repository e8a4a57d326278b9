"""When gold is refreshed while the stream runs: live hours with every batch, older hours and flags a little later.

What a refresh computes is in `lakehouse/gold_refresh.py`; this module remembers what still has to be done.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

from pyspark.sql import DataFrame

from gold.fraud_rules import CONTEXT
from lakehouse import hours as clock
from lakehouse import recovery
from lakehouse.gold_refresh import GoldRefresh
from lakehouse.hot_window import HotWindow
from lakehouse.lake import Lake

IDLE_REFRESH_SECONDS = 10.0
LATE_REFRESH_SECONDS = 15.0
SCAN_PAUSE, LATE_PAUSE = 2, 4
"""How long a scan, or a restatement, is followed by none of its kind, in multiples of the time that it took: the
batches share the machine with them. When no events come there is no pause."""
LONGEST_PAUSE_SECONDS = 60.0
LONG_SECONDS = 240.0
"""Less than `recovery.LOOK_BACK`, so that hours which the book does not tell of are of batches that are looked at."""
STRAGGLER_MINUTES = 10
STRAGGLER_SECONDS = 60.0
"""Events this much older than now widen a fraud scan, which makes it dearer: they wait for the next wide one."""


class LiveGold:
    """Keeps gold up to date; called by one thread, after each batch or while nothing comes."""

    def __init__(self, lake: Lake, hot: HotWindow, now: datetime) -> None:
        """Find what an earlier process left undone; nothing is refreshed yet."""
        self._hot, self._gold = hot, GoldRefresh(lake)
        self._lateness = timedelta(minutes=lake.settings.lateness_minutes)
        self._touched = {clock.number_of(hot.complete_from) + n for n in range(3)}
        self._late = recovery.late_hours(lake, self._tellable_from())
        self._restating: set[int] = set()
        self._overtaken: set[int] = set()
        self._late_since = self._restating_since = self._refreshed = time.monotonic()
        self._closed_through = self._closed_hour(now)
        self._unscanned: set[int] = set()
        self._beside: Future[None] | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
        self._scan_due, self._late_due, self._wide_scan = 0.0, 0.0, -STRAGGLER_SECONDS
        self._scan_from = {self._tellable_from()}

    @property
    def waits_for_long(self) -> bool:
        """Whether an hour that has to be restated from silver has been waiting for minutes."""
        waiting = ((self._late, self._late_since), (self._restating, self._restating_since))
        return any(hours and time.monotonic() - since > LONG_SECONDS for hours, since in waiting)

    def close(self) -> None:
        """Wait for what is done beside the batches; another one goes on from the tables."""
        self._worker.shutdown()
        if self._beside is not None:
            self._beside.result()
        self._gold.close()

    def advance(self) -> None:
        """The hot window may have moved on: what it can no longer tell is restated from silver."""
        untellable = {moment for moment in self._scan_from if moment < self._tellable_from()}
        self._scan_from -= untellable
        self._add_late({clock.number_of(moment) for moment in untellable})

    def after_batch(self, hours: set[int], moments: Iterable[datetime], now: datetime) -> None:
        """Live hours now; older hours together, a few seconds later, because each costs a look into silver.

        `hours` are those of the batch's events, `moments` the starts of minutes with events in the hot window. Only
        the hot window must have the batch by now; `work_beside` is for when silver has it too.
        """
        untellable = {moment for moment in moments if moment < self._tellable_from()}
        self._scan_from |= set(moments) - untellable
        self._add_late({clock.number_of(moment) for moment in untellable})
        self._refresh(hours, now)

    def idle(self, now: datetime) -> None:
        """No events: the rolling hour moves on all the same, hours close, late hours are restated."""
        self._scan_due = self._late_due = time.monotonic()
        if self._touched or self._closed_hour(now) > self._closed_through:
            self._refresh(set(), now)
        elif time.monotonic() - self._refreshed >= IDLE_REFRESH_SECONDS:
            self._gold.last_hour(self._hot.events(), now)
            self._refreshed = time.monotonic()
        self.work_beside(now)

    def _refresh(self, hours: set[int], now: datetime) -> None:
        self._touched |= hours | set(range(self._closed_through + 1, self._closed_hour(now) + 1))
        late = self._hot.before(self._touched)
        self._add_late(late)
        self._touched -= late
        self._gold.live(self._hot.events(), self._touched, now)
        self._unscanned |= self._touched
        self._touched, self._closed_through, self._refreshed = set(), self._closed_hour(now), time.monotonic()

    def _tellable_from(self) -> datetime:
        """From when on the hot window can tell flags: they depend on what came before them."""
        return self._hot.complete_from + CONTEXT

    def _closed_hour(self, now: datetime) -> int:
        """The newest hour that is final: ended, and the lateness setting has passed."""
        return clock.number_of(now - self._lateness) - 1

    def _add_late(self, hours: set[int]) -> None:
        """Remember hours to restate from silver; the first one starts the clock."""
        if hours and not self._late:
            self._late_since = time.monotonic()
        self._late |= hours

    def work_beside(self, now: datetime) -> None:
        """Older hours and flags are a few seconds behind the counts: one piece of such work at a time, beside the
        batches. One that failed ends the stream, and the restarted stream does it again."""
        if self._beside is not None:
            if not self._beside.done():
                return
            self._beside.result()
            # Batches may have written these hours from the window while they were restated from an older silver.
            self._touched |= self._overtaken
            self._beside, self._restating, self._overtaken = None, set(), set()
        if self._late_is_due():
            self._restating, self._restating_since, self._late = self._late, self._late_since, set()
            self._overtaken = self._restating - self._hot.before(self._restating)
            self._beside = self._worker.submit(self._restate, self._restating, now)
        elif self._scan_is_due():
            emit_from, hours = self._next_scan(now), self._unscanned
            self._unscanned = set()
            self._beside = self._worker.submit(self._scan, self._hot.events(), emit_from, hours, now)

    def _late_is_due(self) -> bool:
        moment = time.monotonic()
        return bool(self._late) and moment >= self._late_due and moment - self._late_since >= LATE_REFRESH_SECONDS

    def _scan_is_due(self) -> bool:
        self._unscanned -= self._hot.before(self._unscanned)
        is_wanted = bool(self._unscanned) or (bool(self._scan_from) and self._wide_is_due())
        return is_wanted and time.monotonic() >= self._scan_due

    def _next_scan(self, now: datetime) -> datetime:
        """Where the next scan begins: at the oldest new event, stragglers only now and then."""
        recent = now - timedelta(minutes=STRAGGLER_MINUTES)
        is_wide = self._wide_is_due()
        chosen = [moment for moment in self._scan_from if is_wide or moment >= recent]
        self._scan_from = set() if is_wide else {moment for moment in self._scan_from if moment < recent}
        self._wide_scan = time.monotonic() if is_wide else self._wide_scan
        return max(min(chosen, default=recent), self._tellable_from())

    def _wide_is_due(self) -> bool:
        return time.monotonic() - self._wide_scan >= STRAGGLER_SECONDS

    def _scan(self, hot: DataFrame, emit_from: datetime, hours: set[int], now: datetime) -> None:
        began = time.monotonic()
        self._gold.fraud(hot, emit_from, hours, now)
        self._scan_due = _after_pause(SCAN_PAUSE, began)

    def _restate(self, hours: set[int], now: datetime) -> None:
        began = time.monotonic()
        self._gold.restate(hours, now)
        self._late_due = _after_pause(LATE_PAUSE, began)


def _after_pause(times: int, began: float) -> float:
    """When work that began then and ends now may be done again."""
    ended = time.monotonic()
    return ended + min(times * (ended - began), LONGEST_PAUSE_SECONDS)
