"""The command line over the API: exit codes, what is printed where, keys, and one sentence for what is wrong."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api import keys
from api.problems import KINDS
from lakehouse.api_client import ApiClient
from lakehouse.errors import ShoplakeError
from lakehouse.jobs import JOBS
from lakehouse.runs.claims import Claims, Line
from lakehouse.runs.states import State
from lakehouse.services.service import PROJECT_ROOT, child_environment
from lakehouse.settings import Settings
from tests.support import command_line
from tests.support.platform import free_settings
from tests.support.served_api import ServedApi, served, wait_until, worked_off

OUTCOMES = {
    "succeeded": {"result": {"rows_written": 7, "duration_seconds": 0.5}},
    "failed": {"error": {"code": "broken", "message": "The table is [broken]."}},
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    """A worker lets cohort_retention succeed, maintenance fail, and others wait."""
    with served(tmp_path_factory.mktemp("cli")) as made, worked_off(made, _work_off):
        yield made


def _work_off(api: ServedApi, stop: threading.Event) -> None:
    claims = Claims(api.registry)
    outcome = {"cohort_retention": "succeeded", "maintenance": "failed"}
    while not stop.wait(0.02):
        for held in api.registry.list(states=("running", "cancelling")):
            claims.end(held, State.cancelled, "stopped")  # not legal, and so nothing, for those that nobody cancelled
        run = claims.take("worker", "session")
        if run is None:
            continue
        claims.beat(run, {"step": 1, "steps": 2, "doing": "Counting"}, [Line("counting", fields={"rows": 7})])
        if run.job in outcome:
            state = State(outcome[run.job])
            claims.end(run, state, "over", **OUTCOMES[state])


def shoplake(settings: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**child_environment(settings), "COLUMNS": "200", **more}
    return command_line.shoplake(*arguments, environment=environment, folder=settings.data_dir)


def one_sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") <= 2
    return done.stderr


def test_a_run_that_is_waited_for_prints_its_result(api: ServedApi):
    done = shoplake(api.settings, "run", "cohort_retention", "--param", "timezone=Asia/Tokyo", "--wait")
    assert done.returncode == 0, done.stderr
    assert "cohort_retention: rows_written 7 · duration_seconds 0.5" in done.stdout
    assert "Readers do not see it until the publisher runs again" in done.stderr
    as_json = shoplake(api.settings, "run", "cohort_retention", "-p", "as_of=2026-01-31", "--wait", "-f", "json")
    assert json.loads(as_json.stdout) == OUTCOMES["succeeded"]["result"] and as_json.returncode == 0
    newest = json.loads(shoplake(api.settings, "runs", "list", "--limit", "1", "-f", "json").stdout)[0]
    assert newest["parameters"]["as_of"] == "2026-01-31"
    assert (newest["trigger"], newest["caller"]) == ("cli", "operator")


def test_a_run_that_fails_says_why_with_exit_code_one(api: ServedApi):
    done = shoplake(api.settings, "run", "maintenance", "--wait")
    assert done.returncode == 1 and done.stdout == ""
    assert "maintenance failed: The table is [broken]." in done.stderr and "shoplake runs logs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no_such_job",), "There is no job 'no_such_job'"),
        (("cohort_retention", "-p", "timezone=Mars"), "not an IANA time zone"),
        (("cohort_retention", "-p", "zone=UTC"), "zone"),
        (("cohort_retention", "-p", "timezone"), "name=value"),
    ],
)
def test_wrong_use_is_told_with_exit_code_two(api: ServedApi, arguments, said):
    assert said in one_sentence(shoplake(api.settings, "run", *arguments, "--wait"), 2)


@pytest.mark.parametrize("wrong", [("as_of", "soon"), ("zone", "UTC"), ("timezone", "Mars")])
def test_one_error_has_one_text_here_and_over_http(api: ServedApi, wrong):
    said = one_sentence(shoplake(api.settings, "run", "cohort_retention", "-p", "=".join(wrong)), 2)
    answer = api.operator.post("/v1/jobs/cohort_retention/runs", json={"parameters": dict([wrong])})
    text = said.removeprefix("shoplake: ").strip()
    assert answer.json()["detail"] == f"{text} {KINDS['wrong-parameter'].remedy}"


def test_without_waiting_the_id_is_printed_and_runs_are_looked_after(api: ServedApi):
    done = shoplake(api.settings, "run", "top_products")
    run_id = done.stdout.strip()
    assert done.returncode == 0 and f"shoplake runs logs {run_id} --follow" in done.stderr
    accepted = json.loads(shoplake(api.settings, "run", "fraud_scan", "-f", "json").stdout)
    assert accepted["state"] == "queued"
    wait_until(lambda: api.registry.get(run_id).state == "running", "the run is running")
    listed = shoplake(api.settings, "runs", "list", "--job", "top_products", "--state", "running")
    assert run_id in listed.stdout and "operator" in listed.stdout
    assert "top_products" in shoplake(api.settings, "runs", "show", run_id).stdout
    assert json.loads(shoplake(api.settings, "runs", "show", run_id, "-f", "json").stdout)["id"] == run_id
    assert "counting rows=7" in shoplake(api.settings, "runs", "logs", run_id).stdout
    for one in (run_id, accepted["id"]):
        assert "The run is cancel" in shoplake(api.settings, "runs", "cancel", one).stdout
    followed = shoplake(api.settings, "runs", "logs", run_id, "--follow")
    assert followed.returncode == 0 and "counting" in followed.stdout
    assert "There is no run" in one_sentence(shoplake(api.settings, "runs", "show", "x"), 2)


def test_the_jobs_fit_a_screen(api: ServedApi):
    lines = shoplake(api.settings, "jobs", COLUMNS="80").stdout.splitlines()
    assert len(lines) <= 23 and max(map(len, lines)) <= 80
    assert all(any(line.startswith(name) for line in lines) for name in JOBS)
    one = shoplake(api.settings, "jobs", "cohort_retention", COLUMNS="80").stdout
    assert "timezone" in one and "IANA time zone" in one and "gold.cohort_retention" in one
    assert "There is no job 'cohorts'" in one_sentence(shoplake(api.settings, "jobs", "cohorts"), 2)


def test_without_an_api_one_sentence_says_how_to_start_it(tmp_path):
    settings = free_settings(tmp_path)
    settings.data_dir.mkdir()
    for arguments in (("run", "cohort_retention", "--wait"), ("runs", "list")):
        assert "`make up` starts it" in one_sentence(shoplake(settings, *arguments), 1)
    settings.run_dir.mkdir()
    settings.operator_key_file.write_text("slk_0_0")
    assert "does not answer: `make up` starts it" in one_sentence(shoplake(settings, "runs", "list"), 1)


def test_another_api_needs_a_key_of_its_own(api: ServedApi, tmp_path):
    """The operator's key of this machine is never sent elsewhere."""
    elsewhere = free_settings(tmp_path)
    elsewhere.data_dir.mkdir()
    url = {"SHOPLAKE_API_URL": api.url}
    assert "SHOPLAKE_API_KEY" in one_sentence(shoplake(elsewhere, "runs", "list", **url), 2)
    key = {"SHOPLAKE_API_KEY": api.key("remote", "jobs:read")}
    assert shoplake(elsewhere, "runs", "list", **url, **key).returncode == 0
    assert "needs the scope jobs:run" in one_sentence(shoplake(elsewhere, "run", "backfill", **url, **key), 1)
    assert "unknown, expired or revoked" in one_sentence(
        shoplake(elsewhere, "runs", "list", **url, SHOPLAKE_API_KEY="slk_0_0"), 1
    )


def test_help_names_every_scope(api: ServedApi):
    told = shoplake(api.settings, "keys", "create", "--help").stdout
    assert [scope for scope in keys.SCOPES if scope not in told] == []


def test_keys_are_made_listed_and_revoked(api: ServedApi):
    made = shoplake(
        api.settings, "keys", "create", "ci", "--scope", "jobs:run", "--scope", "jobs:read", "--expires", "30d"
    )
    key = made.stdout.strip()
    assert made.returncode == 0 and made.stdout == key + "\n" and api.client(key).get("/v1/runs").status_code == 200
    listed = json.loads(shoplake(api.settings, "keys", "list", "-f", "json").stdout)
    (row,) = [one for one in listed if one["name"] == "ci"]
    assert row["scopes"] == ["jobs:read", "jobs:run"] and row["expires_at"] and row["last_used_at"]
    shown = shoplake(api.settings, "keys", "list").stdout
    assert row["id"] in shown and key not in shown and key.split("_", 2)[2] not in shown
    assert shoplake(api.settings, "keys", "revoke", "ci").returncode == 0
    assert api.client(key).get("/v1/runs").status_code == 401
    assert "no valid key" in one_sentence(shoplake(api.settings, "keys", "revoke", "ci"), 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a b", "--scope", "admin"), "cannot be used"),
        (("operator", "--scope", "admin"), "cannot be used"),
        (("schedule", "--scope", "admin"), "cannot be used"),
        (("a", "--scope", "jobs:write"), "There is no scope 'jobs:write'"),
        (("a", "--scope", "admin", "--expires", "soon"), "--expires"),
    ],
)
def test_a_wrong_key_request_is_told(api: ServedApi, arguments, said):
    assert said in one_sentence(shoplake(api.settings, "keys", "create", *arguments), 2)


def test_a_start_is_repeated_while_the_queue_is_full_and_starts_one_run(tmp_path):
    with served(tmp_path, max_queued_runs=1) as api:
        waiting = api.start("maintenance")
        timer = threading.Timer(1.0, lambda: api.operator.post(f"/v1/runs/{waiting}/cancel"))
        timer.start()
        with ApiClient(api.settings) as client:
            accepted = client.start("cohort_retention", {})
        timer.join()
        assert [run.id for run in api.registry.list(states=["queued"])] == [accepted["id"]]


def test_a_followed_run_is_followed_over_a_restart_of_the_api(tmp_path):
    with served(tmp_path) as api:
        settings, run_id = api.settings, api.start("sparkless")
        client = ApiClient(settings)
        looks = client.looks_at(run_id)
        assert next(looks)["state"] == "queued"
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, looks)
        time.sleep(1)  # out of reach meanwhile
        again = {"api_port": settings.api_port, "spark_remote": settings.spark_remote}
        with served(tmp_path, **again) as api:
            claims, run = api.take(run_id)
            claims.end(run, State.succeeded, "done", result={})
            assert rest.result(60)[-1]["state"] == "succeeded"
    with pytest.raises(ShoplakeError, match="make up"):
        client.run(run_id)


def test_the_example_script(api: ServedApi):
    path = PROJECT_ROOT / "api" / "examples" / "trigger_job.sh"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SHOPLAKE_API_URL": api.url,
        "SHOPLAKE_API_KEY": api.key("examples", "jobs:run", "jobs:read"),
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(path), *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    done = call("cohort_retention", '{"timezone": "Asia/Tokyo"}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["rows_written"] == 7
    assert "Counting" in done.stderr
    failed = call("maintenance")
    assert failed.returncode == 1 and "The table is [broken]." in failed.stdout
    refused = call("no_such_job")
    assert refused.returncode != 0 and "There is no job" in refused.stderr and "Traceback" not in refused.stderr


def test_the_operators_name_cannot_be_taken(api: ServedApi):
    assert keys.OPERATOR not in {row.name for row in keys.listed(api.registry.database) if row.scopes != ["admin"]}


def test_what_can_be_no_id_is_a_sentence(api: ServedApi) -> None:
    done = shoplake(api.settings, "runs", "show", "\x1b]52;c;ZXZpbA==\x07")
    assert done.returncode == 2 and "no id of a run" in done.stderr, done.stderr
