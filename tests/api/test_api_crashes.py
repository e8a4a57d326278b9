"""kill -9 of the API while callers start runs: nothing accepted is lost, nothing is started twice."""

import threading
import time
from multiprocessing.context import ForkServerProcess

import httpx
import pytest

from lakehouse.probes import says_ok
from lakehouse.runs.claims import Claims
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.services.service import child_environment
from lakehouse.settings import Settings
from tests.support import command_line
from tests.support.platform import free_settings
from tests.support.served_api import something_listening, wait_until

CALLERS = 4
PATIENCE = 240
"""Seconds for what takes one on a quiet machine."""


def start(settings: Settings) -> ForkServerProcess:
    process = command_line.begun("api", environment=child_environment(settings), folder=settings.data_dir)
    wait_until(lambda: says_ok(f"{settings.own_api_url}/livez") or process.exitcode, "the API answers", PATIENCE)
    assert process.exitcode is None
    return process


class Caller(threading.Thread):
    """Starts runs one after another, each until some API accepts it, as a careful client does."""

    def __init__(self, number: int, urls: list[str], key: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.number, self.urls, self.stop = number, urls, stop
        self.headers = {"Authorization": f"Bearer {key}"}
        self.accepted: dict[str, set[str]] = {}
        self.statuses: set[int] = set()

    def run(self) -> None:
        turn = 0
        with httpx.Client(trust_env=False, headers=self.headers, timeout=30) as client:
            while not self.stop.is_set():
                turn += 1
                key = f"{self.number}-{turn}"
                for attempt in range(2):  # the second time although it was accepted: the answer may have been lost
                    run_id = self._until_accepted(client, key, turn + attempt)
                    self.accepted.setdefault(key, set()).add(run_id)
                self.stop.wait(0.05)

    def _until_accepted(self, client: httpx.Client, key: str, turn: int) -> str:
        while True:
            url = self.urls[turn % len(self.urls)]
            turn += 1
            try:
                answer = client.post(f"{url}/v1/jobs/cohort_retention/runs", json={}, headers={"Idempotency-Key": key})
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            self.statuses.add(answer.status_code)
            if answer.status_code == 202:
                return str(answer.json()["id"])
            time.sleep(0.1)


@pytest.fixture
def spark():
    with something_listening() as port:
        yield port


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.nightly)])
def test_killed_with_runs_in_flight_nothing_is_lost_or_doubled(tmp_path, spark, kills):
    """Two processes of the API on one registry; each in turn is killed in the middle of what it does."""
    shared = {
        "spark_remote": f"sc://127.0.0.1:{spark}",
        "max_queued_runs": 100_000,
        "api_caller_requests_per_minute": 1_000_000,
    }
    first = free_settings(tmp_path, api_address_requests_per_minute=1_000_000, **shared)
    second = first.model_copy(update={"api_port": free_settings(tmp_path).api_port})
    first.data_dir.mkdir()
    processes = [start(first), start(second)]
    registry = RunRegistry.open(first)
    stop = threading.Event()
    key = first.operator_key_file.read_text().strip()
    callers = [Caller(number, [first.own_api_url, second.own_api_url], key, stop) for number in range(CALLERS)]
    worker = threading.Thread(target=_work_off, args=(registry, stop))
    try:
        for thread in (worker, *callers):
            thread.start()
        for kill in range(kills):
            place = kill % 2
            before = sum(len(caller.accepted) for caller in callers)
            wait_until(lambda: sum(len(caller.accepted) for caller in callers) > before, "runs are accepted", PATIENCE)  # noqa: B023 - asked before the loop goes on
            processes[place].kill()
            processes[place].join()
            processes[place] = start((first, second)[place])
        stop.set()
        for thread in (worker, *callers):
            thread.join(60)
    finally:
        stop.set()
        for process in processes:
            process.kill()
            process.join()
    answers = {key: ids for caller in callers for key, ids in caller.accepted.items()}
    assert len(answers) >= kills and all(len(ids) == 1 for ids in answers.values())
    accepted = {run_id for ids in answers.values() for run_id in ids}
    assert len(accepted) == len(answers), "two keys, one run"
    kept = {run.id for run in registry.list(limit=100_000)}
    assert accepted <= kept, "accepted and lost"
    # A run whose caller stopped before it heard of it is there too, but never more than one per caller.
    assert len(kept - accepted) <= CALLERS
    assert {status for caller in callers for status in caller.statuses} == {202}


def _work_off(registry: RunRegistry, stop: threading.Event) -> None:
    claims = Claims(registry)
    while not stop.is_set():
        run = claims.take("worker", "session")
        if run is None:
            stop.wait(0.02)
        else:
            claims.end(run, State.succeeded, "done", result={})
