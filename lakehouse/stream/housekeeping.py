"""Keeps files few while the stream runs: merges small files and deletes what no reader needs, beside the batches."""

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime

from lakehouse.catalog import TABLES
from lakehouse.lake import Lake
from lakehouse.s3 import s3_client
from lakehouse.stream import log_cleanup, rebuilt

COMPACT_EVERY = 60
VACUUM_SECONDS = 600.0
OURS = tuple(table for table in TABLES if table.fed == "live")
"""The tables that the stream writes, and therefore maintains."""


class Housekeeping:
    """Counts batches and now and then starts one round of work in a thread of its own."""

    def __init__(self, lake: Lake) -> None:
        """Start nothing yet."""
        self._lake, self._s3 = lake, s3_client(lake.settings)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="housekeeping")
        self._running: Future[None] | None = None
        self._count = 0
        self._days: set[date] = set()
        self._vacuumed = self._began = time.monotonic()

    def after_batch(self, event_days: Iterable[date], now: datetime) -> None:
        """Note the days a batch (or an idle tick: none) wrote to; start a round when due and none is running."""
        self._count += 1
        self._days |= set(event_days)
        is_due = self._count >= COMPACT_EVERY or time.monotonic() - self._began >= VACUUM_SECONDS
        if not is_due or (self._running and not self._running.done()):
            return
        days, self._days, self._count, self._began = self._days, set(), 0, time.monotonic()
        self._running = self._pool.submit(self._round, days, now)

    def _round(self, days: set[date], now: datetime) -> None:
        """Failures are logged and tried again next time: the data is right without this."""
        try:
            of_column = {"event_date": days, "ingest_date": {now.date()}}
            is_rebuilt = rebuilt.is_under_way(self._s3, self._lake.settings.bucket)
            left_alone = ("replaced", "rebuilt") if is_rebuilt else ("replaced",)
            for table in (table for table in OURS if table.rows not in left_alone):
                self._lake.small.compact(table, of_column.get(table.partition_by[0]) if table.partition_by else None)
            if time.monotonic() - self._vacuumed >= VACUUM_SECONDS:
                for table in OURS:
                    self._lake.small.vacuum(table)
                    log_cleanup.clean(self._s3, self._lake.settings.bucket, table)
                self._vacuumed = time.monotonic()
        except Exception:  # the stream must not end because tidying up failed
            self._days |= days
            logging.getLogger(__name__).exception("housekeeping failed; it is tried again later")
