"""Puts rows with similar values of a table's `cluster_by` into the same files, so that a lookup skips the others.

A past day is rewritten once, and again when enough was added to it since: a run costs what has changed, not what
exists. The running day is left to its writers.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from lakehouse.delta_log import DataFile, snapshot
from lakehouse.lake import Lake
from lakehouse.ops import marks
from lakehouse.table import Table

JOB = "maintenance"
"""The owner of the marks: a day's files that were written up to its mark are clustered."""
NEW_SHARE = 0.05
"""The share of a day's bytes that must be newer than its mark: a few late events are not worth rewriting the day."""
LONGEST_SECONDS = 1200.0
"""No day is begun after that, so that the run ends in time; the next run continues from its marks."""


def cluster(lake: Lake, client: Any, table: Table, today: date, seconds: float = LONGEST_SECONDS) -> int:
    """Cluster the days that need it, the newest first, and return how many were; `client` is S3's."""
    if not table.cluster_by:
        return 0
    found = snapshot(client, lake.settings.bucket, table)
    if found is None:
        return 0
    end, done = time.monotonic() + seconds, 0
    for day in due(table, found.live.values(), marks.of_job(lake, JOB), today):
        if time.monotonic() > end:
            break
        lake.cluster(table, day)
        marks.move(lake, JOB, scope_of(table, day), datetime.now(UTC))
        done += 1
    return done


def due(table: Table, files: Iterable[DataFile], done: Mapping[str, datetime], today: date) -> list[date]:
    """Days before `today` with several files, enough of them written after the day's mark in `done`; newest first."""
    of_day: dict[date, list[DataFile]] = defaultdict(list)
    for file in files:
        if (value := file.partition[0]) is not None:
            of_day[date.fromisoformat(value)].append(file)
    return [
        day
        for day in sorted(of_day, reverse=True)
        if day < today and len(of_day[day]) > 1 and _is_new(of_day[day], done.get(scope_of(table, day)))
    ]


def scope_of(table: Table, day: date) -> str:
    """The name of the mark of a table's day."""
    return f"{table.full_name} {day}"


def _is_new(files: list[DataFile], mark: datetime | None) -> bool:
    new = sum(file.size for file in files if mark is None or file.written_at > mark)
    return new > NEW_SHARE * sum(file.size for file in files)
