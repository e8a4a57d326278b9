"""When people shop, by hour of their day and by day of the week; and moments as text."""

from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

WEEKDAY = (0.95, 0.93, 0.95, 0.98, 1.02, 1.08, 1.12)
"""Share of people who come on a day, Monday first, relative to an average day."""

_WORKING_DAY = (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 11, 13, 11, 10, 10, 11, 13, 16, 19, 21, 19, 13, 6)
_WEEKEND = (4, 2, 1, 1, 1, 1, 2, 4, 7, 11, 15, 17, 17, 16, 16, 16, 16, 16, 16, 18, 19, 17, 12, 7)
_WITHIN_MINUTE = tuple(f"{ms // 1000:02d}.{ms % 1000:03d}Z" for ms in range(60_000))


def weekday(day: int) -> int:
    """Day of the week (Monday is 0) of a day counted from 1970-01-01, which was a Thursday."""
    return (day + 3) % 7


def times_of_day(rng: np.random.Generator, day: int, count: int) -> np.ndarray:
    """Local times (ms since midnight) at which `count` visits of that day begin."""
    shape = np.array(_WEEKEND if weekday(day) >= 5 else _WORKING_DAY, dtype=float)
    hours = rng.choice(24, size=count, p=shape / shape.sum())
    return hours.astype(np.int64) * HOUR_MS + rng.integers(0, HOUR_MS, size=count)


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M:")


def rfc3339(at_ms: int) -> str:
    """Epoch milliseconds as `2026-09-03T10:15:30.123Z`, fast: an hour of simulated time needs a hundred thousand."""
    return _minute(at_ms // 60_000) + _WITHIN_MINUTE[at_ms % 60_000]
