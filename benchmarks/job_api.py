"""Figures of the job API: how fast it accepts under many callers, and how soon a run is under way."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx

from benchmarks.figures import Figure, percentile
from lakehouse.api_client import ApiClient
from lakehouse.runs.states import TERMINAL
from lakehouse.settings import Settings

CALLERS, CALLS = 50, 1_000
WARM_RUNS = 20


def figures(settings: Settings) -> list[Figure]:
    """Both."""
    return [*_started(settings), *_accepted(settings)]


def _accepted(settings: Settings) -> list[Figure]:
    """Of a POST that is answered 202 or 429, with CALLERS at once."""
    headers = {"Authorization": f"Bearer {settings.operator_key_file.read_text().strip()}"}
    body = {"parameters": {"action": "status"}}

    def call(number: int) -> float:
        began = time.monotonic()
        answer = http.post("/v1/jobs/stream/runs", json=body, headers=headers | {"Idempotency-Key": f"bench-{number}"})
        if answer.status_code not in (202, 429):
            raise RuntimeError(f"unexpected answer {answer.status_code}: {answer.text[:200]}")
        return (time.monotonic() - began) * 1000

    limits = httpx.Limits(max_connections=CALLERS)
    with (
        httpx.Client(base_url=settings.own_api_url, limits=limits, timeout=60, trust_env=False) as http,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        began = time.monotonic()
        took = list(pool.map(call, range(CALLS)))
        seconds = time.monotonic() - began
    return [
        Figure(f"accept p50 at {CALLERS} callers", percentile(took, 0.5), "ms"),
        Figure(f"accept p99 at {CALLERS} callers", percentile(took, 0.99), "ms"),
        Figure(f"requests at {CALLERS} callers", CALLS / seconds, "1/s"),
    ]


def _started(settings: Settings) -> list[Figure]:
    """Seconds from a run's creation to its first attempt: of the first run, then of warm ones.

    The job reads nothing and needs Spark only for its session; the registry's own times are compared.
    """
    waits: list[float] = []
    with ApiClient(settings) as client:
        for _ in range(WARM_RUNS + 1):
            run = client.start("stream", {"action": "status"})
            while run["state"] not in TERMINAL:
                time.sleep(0.2)
                run = client.run(run["id"])
            created, started = (datetime.fromisoformat(run[name]) for name in ("created_at", "started_at"))
            waits.append((started - created).total_seconds())
    return [
        Figure("trigger → running, first", waits[0], "s"),
        Figure("trigger → running, warm p50", percentile(waits[1:], 0.5), "s", "2"),
        Figure("trigger → running, warm p99", percentile(waits[1:], 0.99), "s"),
    ]
