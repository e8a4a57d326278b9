"""When gold is written while the stream runs: the window's hours with every batch, from the fold; the window's flags
and older hours beside the batches. Spark recomputes an older hour, and one that has just closed, from silver: that is
its final row.
"""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

import pyarrow as pa

from gold import fraud_live
from gold.fraud_rules import CONTEXT
from lakehouse import hours as clock
from lakehouse.catalog import TABLES
from lakehouse.hours import micros
from lakehouse.lake import Lake
from lakehouse.reports import write_report
from lakehouse.stream import late_flags, recovery
from lakehouse.stream.fold import MICROS_OF_HOUR, Fold, Taken
from lakehouse.stream.gold_refresh import GoldRefresh, closed_hour, flags_touched_by, replace_flags, replace_hours
from lakehouse.table import Table
from quality import results

LIVE = tuple(table for table in reversed(TABLES) if table.live)
"""Gold tables that follow every batch, in the order of writing: ranks, which take longest to look up, come last."""
IDLE_SECONDS = 10.0
SCAN_SECONDS = 2.0
"""Shortest time between two scans for flags."""
RECENT = timedelta(minutes=10)
STRAGGLER_SECONDS = 60.0
"""Events older than RECENT make a scan wider and dearer: they wait this long for a wide one."""
LATE_SECONDS, LATE_PAUSE, LONGEST_PAUSE = 15.0, 9, 600.0
"""Time that an older hour waits for others; the pause after a restatement, as a multiple of it; the longest pause."""
LONG_SECONDS = 240.0
"""Hours that waited longer are booked as late_pending. Must stay below `recovery.LOOK_BACK`, so that recovery restates
the others."""
EQUALS_HISTORY = ("gold", "live_equals_history", "block")
MEANS = "What the stream has said of an hour is what Spark makes of it from silver when it has closed."


class LiveGold:
    """Keeps gold up to date; called by one thread, after each batch or while nothing comes."""

    def __init__(self, lake: Lake, fold: Fold, now: datetime) -> None:
        """Find what an earlier process left undone; the window's hours are written with the next batch."""
        self._lake, self._fold, self._gold = lake, fold, GoldRefresh(lake)
        self._touched = {fold.first_hour + number for number in range(3)}
        self._late = recovery.late_hours(lake, self._tellable_from())
        self._flags_late = set(self._late)
        self._late_since = self._restating_since = time.monotonic()
        self._late_due = 0.0
        self._restating: set[int] = set()
        self._grew: set[int] = set()
        self._written = self._scanned = 0.0
        self._widely_scanned = -STRAGGLER_SECONDS
        self._closed = self._closed_hour(now)
        self._unscanned: int | None = micros(self._tellable_from())
        """Where the next scan has to begin; None: nothing came since the last one."""
        self._recompute: Future[list[str] | None] | None = None
        self._scanning: Future[None] | None = None
        self._scanned_from = 0
        """Where the newest scan begins."""
        self._beside = ThreadPoolExecutor(max_workers=2, thread_name_prefix="beside")
        self._pool = ThreadPoolExecutor(max_workers=len(LIVE), thread_name_prefix="gold")

    @property
    def waits_for_long(self) -> bool:
        """True if an hour that has to be restated from silver has been waiting for minutes."""
        waiting = ((self._late, self._late_since), (self._restating, self._restating_since))
        return any(hours and time.monotonic() - since > LONG_SECONDS for hours, since in waiting)

    def close(self) -> None:
        """Wait for the work beside the batches; the next instance continues from the tables."""
        self._beside.shutdown()
        self._pool.shutdown()
        for work in (self._recompute, self._scanning):
            if work is not None:
                work.result()

    def after_batch(self, taken: Taken, now: datetime) -> None:
        """Write what the batch changed in the window, and remember what else has to be done."""
        self._touched |= taken.touched
        self._grew |= taken.touched | taken.late
        self._add_late(taken.late, with_flags=True)
        if taken.oldest is not None:
            self._unscanned = min(taken.oldest, self._unscanned or taken.oldest)
        self._leave_to_silver()
        self._write(now)

    def _leave_to_silver(self) -> None:
        """Flags that are too old for the fold are restated with their hours."""
        first = self._tellable_from()
        if self._unscanned is not None and self._unscanned < micros(first):
            oldest = self._unscanned // MICROS_OF_HOUR  # with an hour, flags of CONTEXT after it are restated, too
            self._add_late(set(range(oldest, max(oldest + 1, clock.number_of(first)))), with_flags=True)
            self._unscanned = micros(first)

    def idle(self, now: datetime) -> None:
        """Without events the rolling hour still moves on, and hours close."""
        self._late_due = 0.0
        if self._touched or self._closed_hour(now) > self._closed or time.monotonic() - self._written >= IDLE_SECONDS:
            self._write(now)
        self.work_beside(now)

    def _write(self, now: datetime) -> None:
        closed = self._closed_hour(now)
        self._add_late(set(range(self._closed + 1, closed + 1)))
        self._add_late({hour for hour in self._touched if hour < self._fold.first_hour})
        hours = {hour for hour in self._touched if hour >= self._fold.first_hour}
        settings, writing = self._lake.settings, []
        for table in LIVE:
            if table.live and (hours or not table.hourly):
                # One table is written while the rows of the next are looked up.
                rows = self._fold.rows(table.live, hours, now, settings.top_n, settings.currency)
                writing.append(self._pool.submit(self._put, table, rows, hours, now, closed))
        for work in writing:
            work.result()
        self._touched, self._closed, self._written = set(), closed, time.monotonic()
        self._report()

    def _put(self, table: Table, rows: pa.Table, hours: set[int], now: datetime, closed: int) -> None:
        if table.hourly:
            replace_hours(self._lake.small, table, rows, hours, now, closed)
        else:
            self._lake.small.overwrite(table, rows)

    def work_beside(self, now: datetime, *, in_backlog: bool = False) -> None:
        """Begin a scan for flags and the restatement of older hours, each when it is due and the last one has ended. A
        failure ends the stream, and the restarted stream tries again. In a backlog older hours wait longer: each batch
        brings more of them, and needs the cores."""
        self._leave_to_silver()
        if self._recompute is not None and self._recompute.done():
            self._ended(self._recompute.result(), now)
        if self._scanning is not None and self._scanning.done():
            self._scanning.result()
            self._scanning = None
        moment = time.monotonic()
        waits = LONGEST_PAUSE if in_backlog else LATE_SECONDS
        is_due = moment >= self._late_due and moment - self._late_since >= waits
        # A scan that began before the window moved on would overwrite flags of the recompute with older ones.
        is_apart = self._scanning is None or self._scanned_from >= micros(self._tellable_from())
        if self._recompute is None and self._late and is_due and is_apart:
            self._restating, self._restating_since = self._late, self._late_since
            flags_of, self._flags_late = self._flags_late, set()
            self._late, self._grew = set(), set()
            self._recompute = self._beside.submit(self._restate, self._restating, flags_of, now, self._tellable_from())
        if self._scanning is None and self._unscanned is not None and moment - self._scanned >= SCAN_SECONDS:
            self._scanned_from = self._next_scan(now)
            self._scanning = self._beside.submit(self._scan, self._scanned_from, now)

    def _ended(self, different: list[str] | None, now: datetime) -> None:
        """Hours that got events while they were restated are written again. If there are none, closed hours must be as
        the stream had written them: a difference raises an alert."""
        grew = self._restating & self._grew
        self._touched |= {hour for hour in grew if hour >= self._fold.first_hour}
        self._add_late({hour for hour in grew if hour < self._fold.first_hour}, with_flags=True)
        if different is not None and not grew:
            said = json.dumps(different)
            verdict = ("stream", now, *EQUALS_HISTORY, not different, said, MEANS, "incremental")
            self._lake.append_rows(results.TABLE, [verdict])
        self._recompute, self._restating = None, set()

    def _next_scan(self, now: datetime) -> int:
        """Where the next scan begins: at the oldest new event, stragglers only now and then."""
        recent, oldest = micros(now - RECENT), self._unscanned or micros(now)
        moment = time.monotonic()
        is_wide = oldest >= recent or moment - self._widely_scanned >= STRAGGLER_SECONDS
        self._unscanned = None if is_wide else oldest
        self._widely_scanned = moment if is_wide and oldest < recent else self._widely_scanned
        self._scanned = moment
        return oldest if is_wide else max(recent, micros(self._tellable_from()))

    def _scan(self, emit_from: int, now: datetime) -> None:
        until = now + timedelta(minutes=self._lake.settings.max_future_minutes + 1)
        with self._fold.snapshot() as reader:
            found = fraud_live.flags(reader, "fraud_events", emit_from, micros(until), now)
        if replace_flags(self._lake.small, found, [(clock_of(emit_from), until)]):
            self._report()

    def _report(self) -> None:
        """Report that gold changed, and which clock hours still wait for their recompute."""
        write_report(self._lake.settings.gold_report, waiting_hours=sorted(self._late | self._restating))

    def _restate(self, hours: set[int], flags_of: set[int], now: datetime, tellable_from: datetime) -> list[str] | None:
        """Restate hours; returns which closed ones differed from what the stream had written, None if none had closed.
        Flags from `tellable_from` on are left to the scan, which runs meanwhile."""
        began = time.monotonic()
        different = self._gold.restate(hours, now)
        for begin, end in flags_touched_by(flags_of):
            if begin < tellable_from:
                end = min(end, tellable_from)
                replace_flags(self._lake.small, late_flags.flags(self._lake, begin, end, now), [(begin, end)])
        took = time.monotonic() - began
        self._late_due = time.monotonic() + min(LATE_PAUSE * took, LONGEST_PAUSE)
        # Late events change an older hour; a closed one must be as the stream had written it.
        newest = self._closed_hour(now)
        kept = (hour for hour in hours if self._fold.first_hour <= hour <= newest)
        closed = {f"{clock.start_of(hour):%Y-%m-%d %H:00}" for hour in kept}
        return [each for each in different if each.split(" ", 1)[1] in closed] if closed else None

    def _tellable_from(self) -> datetime:
        """From when on the fold can find flags, which depend on the events before them."""
        return clock.start_of(self._fold.first_hour) + CONTEXT

    def _closed_hour(self, now: datetime) -> int:
        return closed_hour(now, self._lake.settings)

    def _add_late(self, hours: set[int], *, with_flags: bool = False) -> None:
        """Remember hours to restate from silver; the first one starts the clock. The flags of an hour that has merely
        closed are known from the scans."""
        if hours and not self._late:
            self._late_since = time.monotonic()
        self._late |= hours
        self._flags_late |= hours if with_flags else set()


def clock_of(moment: int) -> datetime:
    """Microseconds since the epoch as a moment, UTC."""
    return clock.start_of(0) + timedelta(microseconds=moment)
