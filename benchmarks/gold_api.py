"""How fast gold is answered over HTTP with many callers at once, and what a longer history costs.

`python -m benchmarks.gold_api` measures it alone, over files made here; `make bench` has it among its figures. The API
is a process of its own, and its processor time per answer says more on a busy machine than the time that passes.
Callers ask the same questions again, as dashboards do, or each time one that nobody has asked yet, without pause.
"""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psutil

from benchmarks.figures import Figure, percentile, report
from lakehouse.serving.derived import EXTRAS, create
from lakehouse.serving.file import BATCH_MINUTES_VIEW, PUBLISHED
from lakehouse.serving.publisher import sources
from lakehouse.settings import Settings
from tests.support.platform import free_settings

CALLERS, CALLS_OF_ONE = 20, 100
DAYS = 60
HISTORIES = (1, 10, 100)
"""Times DAYS. Retention has that many calendars instead: its cohorts would grow with the square."""
WARM_UP = 100
UNLIMITED = "1000000"
PATHS = (
    "/v1/gold/kpis?limit=24",
    "/v1/gold/top-products?max_rank=10&limit=50",
    "/v1/gold/fraud-flags?severity=high&limit=50",
    "/v1/gold/top-products/last-hour?max_rank=10",
    "/v1/gold/retention?granularity=week&definition=n_day&activity=any&timezone=UTC&limit=100",
)
NEW_PATHS = tuple(path + "&until=" for path in PATHS[:3])
_later = count()
ROWS = """
INSERT INTO gold.kpis_hourly BY NAME SELECT now()::TIMESTAMP - to_hours(range) AS hour_start, 30 AS page_views,
    20 AS product_views, 5 AS clicks, 4 AS carts, 2 AS purchases, 3 AS searches, 55.5 AS revenue, 10 AS unique_users,
    0.2 AS conversion_rate, now()::TIMESTAMP AS updated_at, hour_start::DATE AS hour_date
    FROM range({hours}) ORDER BY range DESC;
INSERT INTO gold.top_products_hourly BY NAME SELECT now()::TIMESTAMP - to_hours(h.range) AS hour_start,
    r.range + 1 AS rank, 'p' || r.range AS product_id, 'A lamp' AS product_name, 90 - r.range AS views,
    80 - r.range AS unique_viewers, 'final' AS status, now()::TIMESTAMP AS updated_at, hour_start::DATE AS hour_date
    FROM range({hours}) h, range(10) r ORDER BY h.range DESC;
INSERT INTO gold.top_products_last_hour BY NAME SELECT now()::TIMESTAMP AS as_of, now()::TIMESTAMP AS window_start,
    range + 1 AS rank, 'p' || range AS product_id, 'A lamp' AS product_name, 9 AS views, 8 AS unique_viewers
    FROM range(10);
INSERT INTO gold.fraud_flags BY NAME SELECT 'f' || range AS flag_id, 'u1' AS user_id, 'card_testing' AS rule_id,
    1 AS rule_version, 0.9 AS score, ['low', 'medium', 'high'][1 + range % 3] AS severity, 'five cards' AS reason,
    'user' AS entity_type, 'u1' AS entity, ['e1', 'e2'] AS evidence, now()::TIMESTAMP - to_hours(range) AS event_time,
    event_time AS window_start, event_time AS window_end, now()::TIMESTAMP AS detected_at,
    event_time::DATE AS event_date FROM range({hours}) ORDER BY range DESC;
INSERT INTO gold.cohort_retention BY NAME SELECT 'week' AS granularity, current_date - 7 * c.range::INT AS cohort_start,
    10 AS cohort_size, p.range AS period_index, 'n_day' AS definition, 'any' AS activity,
    if(z.range = 0, 'UTC', 'Etc/' || z.range) AS timezone, 5 AS retained_users, 0.5 AS retention_rate,
    true AS is_complete, now()::TIMESTAMP AS computed_at FROM range({days}) c, range({days}) p, range({times}) z;
"""


BATCHES = """
INSERT INTO ops.recent_batches BY NAME SELECT range AS batch_id, 80 AS offsets, 80 AS bronze_rows, 72 AS silver_rows,
    8 AS duplicate_rows, 0 AS quarantined_rows, 0 AS unaccounted,
    now()::TIMESTAMP - to_seconds(range + 1) AS started_at, now()::TIMESTAMP - to_seconds(range) AS committed_at
    FROM range(48 * 3600) ORDER BY range DESC;
"""
"""Two days of batches, one a second: the file never has more."""


@dataclass(frozen=True)
class Measured:
    """Milliseconds of an answer, answers per second, and the API's processor time of an answer in milliseconds."""

    p50: float
    p99: float
    per_second: float
    processor: float


def measure(times: int, *, ask_anew: bool = False) -> Measured:
    """Every caller asks each path in turn; `ask_anew`: never twice."""
    with tempfile.TemporaryDirectory(prefix="shoplake-bench-") as folder:
        settings = free_settings(Path(folder))
        make_file(settings.serving_file, times)
        with _served(settings) as process, ThreadPoolExecutor(CALLERS) as pool:
            key = settings.operator_key_file.read_text().strip()
            _call(settings, key, WARM_UP, ask_anew)
            before, began = sum(process.cpu_times()[:2]), time.monotonic()
            calls = list(pool.map(lambda _: _call(settings, key, CALLS_OF_ONE, ask_anew), range(CALLERS)))
            seconds = time.monotonic() - began
            processor = (sum(process.cpu_times()[:2]) - before) * 1000
    took = [one for caller in calls for one in caller]
    return Measured(percentile(took, 0.5), percentile(took, 0.99), len(took) / seconds, processor / len(took))


def make_file(path: Path, times: int) -> None:
    """A published file with DAYS of gold, that many times."""
    path.parent.mkdir(parents=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA gold; CREATE SCHEMA ops")
        for source in sources():
            columns = ", ".join(f'"{name}" {kind}' for name, kind, _ in source.columns)
            connection.execute(f"CREATE TABLE {source.name} ({columns})")
        for extra in EXTRAS:
            create(connection, extra)
        connection.execute(BATCHES)
        connection.execute(BATCH_MINUTES_VIEW)
        connection.execute(ROWS.format(hours=24 * DAYS * times, days=DAYS, times=times))
        names = ", ".join(f"('{source.name}')" for source in sources())
        connection.execute(
            f"CREATE TABLE {PUBLISHED} AS SELECT col0 AS table_name, 1::BIGINT AS delta_version, 1::BIGINT AS rows,"  # noqa: S608 - the names are declared in this project
            " now()::TIMESTAMP AS published_at, now()::TIMESTAMP AS newest_data_at, '' AS blocked_by,"
            " '' AS let_through, 0::BIGINT AS held_rows, '' AS held_by"
            f" FROM (VALUES {names})"
        )


@contextmanager
def _served(settings: Settings) -> Iterator[psutil.Process]:
    limits = {
        "SHOPLAKE_API_CALLER_REQUESTS_PER_MINUTE": UNLIMITED,
        "SHOPLAKE_API_ADDRESS_REQUESTS_PER_MINUTE": UNLIMITED,
    }
    places = {"SHOPLAKE_DATA_DIR": str(settings.data_dir), "SHOPLAKE_API_PORT": str(settings.api_port)}
    command = [sys.executable, "-m", "lakehouse.cli", "api"]
    started = subprocess.Popen(command, env=os.environ | limits | places, stdout=subprocess.DEVNULL)
    try:
        while not _answers(settings):
            if started.poll() is not None:
                raise RuntimeError("the API does not start")
            time.sleep(0.1)
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait()


def _answers(settings: Settings) -> bool:
    with closing(_connection(settings)) as connection, suppress(OSError):
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    return False


def _connection(settings: Settings) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(settings.own_api_url).netloc, timeout=60)


def _call(settings: Settings, key: str, calls: int, ask_anew: bool) -> list[float]:
    """Milliseconds of each call over one connection."""
    took = []
    with closing(_connection(settings)) as connection:
        for number in range(calls):
            path = _new_path(number) if ask_anew else PATHS[number % len(PATHS)]
            began = time.perf_counter()
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            body = answer.read()
            took.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                raise RuntimeError(f"unexpected answer {answer.status}: {body[:200]!r}")
    return took


def _new_path(number: int) -> str:
    """A question up to a moment that nobody has asked about."""
    moment = datetime.now(UTC) - timedelta(seconds=next(_later))
    return NEW_PATHS[number % len(NEW_PATHS)] + f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def main() -> None:
    """Measure, print, and write the figures into benchmarks/results/gold_api.json."""
    figures: list[Figure] = []
    for times in HISTORIES:
        for ask_anew in (False, True):
            found = measure(times, ask_anew=ask_anew)
            name = f"{times} x {DAYS} days, {'new ones' if ask_anew else 'the same'}"
            figures += [
                Figure(f"{name}: p50", found.p50, "ms"),
                Figure(f"{name}: p99", found.p99, "ms", "25"),
                Figure(f"{name}: answers", found.per_second, "1/s"),
                Figure(f"{name}: processor time of an answer", found.processor, "ms"),
            ]
    report("gold_api", "python -m benchmarks.gold_api", figures)


if __name__ == "__main__":
    main()
