"""The API with the whole platform behind it: the documented way to a result, crashes, readiness, metrics."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lakehouse.services.service import PROJECT_ROOT
from lakehouse.services.state import status
from tests.support import pages
from tests.support.shop import Shop, environment_of, eventually

pytestmark = pytest.mark.e2e
PAGE = (PROJECT_ROOT / "docs" / "how-to" / "trigger-a-job.md").read_text()
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
IN_CI = 2
"""Blocks of the page; each of the others starts a run in one more way, and waits for it: nightly."""
(IN_README,) = (block for block in pages.marked(__file__) if block.page == "README.md")
ENDED = ("succeeded", "failed", "cancelled", "lost")


@pytest.fixture(scope="module")
def environment(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a person has who reads the page: `shoplake`, `python` and a key."""
    programs = tmp_path_factory.mktemp("bin")
    command = programs / "shoplake"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lakehouse.cli "$@"\n')
    command.chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = {
        **os.environ,
        **environment_of(shop),
        "PATH": path,
        "PYTHONPATH": str(PROJECT_ROOT),
        "NO_PROXY": "127.0.0.1",
    }
    create = ["shoplake", "keys", "create", "e2e", "--scope", "jobs:run", "--scope", "jobs:read"]
    key = subprocess.run(create, env=made, capture_output=True, text=True, check=True).stdout.strip()
    return {**made, "SHOPLAKE_API_KEY": key}


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[httpx.Client]:
    """The operator."""
    key = shop.settings.operator_key_file.read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=shop.settings.own_api_url, headers=headers, trust_env=False, timeout=60) as made:
        yield made


def run_block(shop: Shop, environment: dict[str, str], language: str, text: str) -> str:
    """The output of a block of the page, at this lake's port."""
    text = text.replace("http://127.0.0.1:8000", shop.settings.own_api_url)
    start = ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-c"]
    done = subprocess.run(
        [*start, text], env=environment, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wait_for(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """The run once it has ended, whatever happens to the API meanwhile."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        try:
            found.update(client.get(f"/v1/runs/{run_id}").json())
        except (httpx.HTTPError, ValueError):
            return False
        return found.get("state") in ENDED

    eventually(has_ended, 300, f"run {run_id} has ended")
    return found


@pytest.mark.parametrize(
    ("language", "text"),
    [*BLOCKS[:IN_CI], *(pytest.param(*block, marks=pytest.mark.nightly) for block in BLOCKS[IN_CI:])],
    ids=range(len(BLOCKS)),
)
def test_the_page_works_as_it_stands(shop: Shop, environment: dict[str, str], language: str, text: str) -> None:
    output = run_block(shop, environment, language, text)
    if "export" not in text:
        assert "cohort_retention" in output or "rows_written" in output


def test_the_readme_triggers_a_job(shop: Shop, client: httpx.Client, environment: dict[str, str]) -> None:
    accepted = json.loads(run_block(shop, environment, "bash", IN_README.text.replace(".venv/bin/", "")))
    assert wait_for(client, accepted["id"])["state"] == "succeeded"


def test_everything_is_ready(client: httpx.Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.text
    parts = {"database", "kafka", "s3", "spark", "stream", "worker", "gate"}
    assert answer.json()["checks"] == dict.fromkeys(parts, "ok"), answer.text


def test_metrics_agree_with_the_book(shop: Shop, client: httpx.Client) -> None:
    shop.wait_until_read()
    book = (
        "select sum(bronze_rows) as bronze, sum(silver_rows) as silver, sum(duplicate_rows) as duplicates"
        " from ops.batches"
    )

    def agree() -> bool:
        families = text_string_to_metric_families(client.get("/metrics").text)
        found = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
        (expected,) = shop.ask(book)
        reasons = sum(value for (name, *_), value in found.items() if name == "shoplake_quarantine_rows")
        (refused,) = shop.ask("select count(*) as n from silver.quarantine")
        return (
            all(found.get(("shoplake_rows", layer)) == rows for layer, rows in expected.items())
            and reasons == refused["n"]
            and found.get(("shoplake_stream_lag_records",)) == 0
            and found.get(("shoplake_stream_freshness_seconds",)) == 0
            and found.get(("shoplake_stream_up", "running")) == 1
        )

    eventually(agree, 90, "the metrics agree with the tables")


def asked_for(client: httpx.Client) -> set[str]:
    """Ids of the runs that somebody started; the schedule starts some of its own at its times."""
    runs = client.get("/v1/runs", params={"limit": 200}).json()["items"]
    return {run["id"] for run in runs if run["trigger"] != "schedule"}


@pytest.mark.nightly
def test_a_killed_api_comes_back_and_no_run_is_lost_or_doubled(shop: Shop, client: httpx.Client) -> None:
    """kill -9 with runs in flight; every start is repeated until it is answered. More often, without Spark:
    tests/api/test_api_crashes.py."""
    started: dict[str, str] = {}

    def start(key: str) -> None:
        def is_accepted() -> bool:
            try:
                answer = client.post("/v1/jobs/cohort_retention/runs", json={}, headers={"Idempotency-Key": key})
            except httpx.HTTPError:
                return False
            assert answer.status_code in (202, 503), answer.text
            if answer.status_code == 202:
                assert started.setdefault(key, answer.json()["id"]) == answer.json()["id"]
            return answer.status_code == 202

        eventually(is_accepted, 120, f"{key} is accepted")

    before = asked_for(client)
    start("before")
    os.kill(status(shop.settings)["api"]["pid"], signal.SIGKILL)
    start("before")  # again: the same run
    start("after")
    ended = {key: wait_for(client, run_id) for key, run_id in started.items()}
    assert {run["state"] for run in ended.values()} == {"succeeded"}
    assert {run["attempt"] for run in ended.values()} == {1}, "a crash of the API is none of a run's business"
    made = asked_for(client) - before
    assert made == set(started.values()) and len(made) == 2
    spans = sorted((run["started_at"], run["finished_at"]) for run in ended.values())
    assert all(end <= next_start for (_, end), (next_start, _) in itertools.pairwise(spans)), "no overlap"


def test_a_warm_run_starts_within_two_seconds(client: httpx.Client) -> None:
    """From the request to running, as the registry's clock tells of the runs that the tests before have started; the
    best of them decides, not the machine's mood."""
    runs = client.get("/v1/runs", params={"job": "cohort_retention", "state": "succeeded", "limit": 200}).json()[
        "items"
    ]
    waits = [
        (datetime.fromisoformat(run["started_at"]) - datetime.fromisoformat(run["created_at"])).total_seconds()
        for run in runs
    ]
    assert len(waits) >= 2 and min(waits) < 2, waits
