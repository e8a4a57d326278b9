"""Running the API: liveness, readiness, metrics, headers, logs, a database that goes away, starting and ending it."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.problems import KINDS
from api.readiness import Readiness
from api.server import keep_operator_key
from lakehouse.errors import UsageError
from lakehouse.probes import says_ok
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.services.ports import is_loopback, refuse_unsafe
from lakehouse.services.service import child_environment
from tests.support import command_line
from tests.support.platform import free_settings
from tests.support.served_api import ServedApi, is_problem, served, wait_until


def test_alive_needs_nothing_and_ready_names_what_is_missing(api: ServedApi):
    assert api.operator.get("/livez").json() == {"status": "alive"}
    missing = is_problem(api.client(None).get("/readyz"), 503, "dependency-away")["missing"]
    assert set(missing) == {"kafka", "s3", "stream", "worker"}  # database and Spark's port answer


def test_a_run_that_needs_spark_is_refused_while_it_is_away(tmp_path):
    with served(tmp_path, spark_remote="sc://127.0.0.1:1") as api:
        answer = api.operator.post("/v1/jobs/plain/runs")
        assert is_problem(answer, 503, "dependency-away")["missing"] == {"spark": "does not answer"}
        assert api.registry.list() == []
        assert api.operator.post("/v1/jobs/sparkless/runs").status_code == 202


def test_a_known_key_is_answered_while_spark_is_away(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as spark:
        remote = f"sc://127.0.0.1:{spark.getsockname()[1]}"
        with served(tmp_path, spark_remote=remote) as api:
            headers = {"Idempotency-Key": "a"}
            first = api.operator.post("/v1/jobs/plain/runs", headers=headers)
            spark.close()
            wait_until(lambda: api.operator.post("/v1/jobs/plain/runs").status_code == 503, "Spark is known to be away")
            assert api.operator.post("/v1/jobs/plain/runs", headers=headers).json() == first.json()


def test_a_database_that_is_away_is_a_503_and_comes_back(tmp_path):
    with served(tmp_path) as api:
        run_id = api.start()
        path = api.settings.data_dir / "registry.sqlite3"
        api.registry.database.engine.dispose()
        aside = path.with_name("aside")
        path.rename(aside)
        path.mkdir()  # what cannot be opened
        for method, where in (("GET", "/v1/runs"), ("POST", "/v1/jobs/plain/runs"), ("GET", f"/v1/runs/{run_id}")):
            body = is_problem(api.operator.request(method, where), 503, "dependency-away")
            assert body["missing"] == {"database": "does not answer"}
        assert "database" in is_problem(api.operator.get("/readyz"), 503, "dependency-away")["missing"]
        assert "shoplake_database_up 0.0" in api.operator.get("/metrics").text
        assert api.operator.get("/livez").status_code == 200
        path.rmdir()
        aside.rename(path)
        assert api.operator.get(f"/v1/runs/{run_id}").json()["state"] == "queued"


def samples(api: ServedApi) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(api.operator.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count_runs_durations_queue_and_latency(tmp_path):
    with served(tmp_path) as api:
        done, _waiting = api.start("sparkless"), api.start()
        claims, run = api.take(done)
        claims.end(run, State.succeeded, "done", result={})
        found = samples(api)
        assert found["shoplake_runs", (("job", "sparkless"), ("state", "succeeded"))] == 1
        ended = (("job", "sparkless"), ("state", "succeeded"))
        assert 0 <= found["shoplake_run_seconds", ended] < 60
        assert (
            found["shoplake_queue_runs", ()] + found.get(("shoplake_runs", (("job", "plain"), ("state", "running"))), 0)
            == 1
        )
        route = (("method", "POST"), ("route", "/v1/jobs/{job}/runs"), ("status", "202"))
        assert found["shoplake_api_request_seconds_count", route] == 2
        assert found["shoplake_database_up", ()] == 1
        assert found["shoplake_stream_up", (("state", "down"),)] == 0


def test_metrics_tell_what_the_stream_wrote_about_itself(tmp_path):
    with served(tmp_path) as api:
        report = {"state": "running", "offsets": {}, "batch": {"batch_id": 7, "rows": 120, "duration_ms": 1500}}
        (api.settings.run_dir / "stream.json").write_text(json.dumps(report))
        found = samples(api)
        assert found["shoplake_stream_up", (("state", "running"),)] == 1
        assert found["shoplake_stream_batch_seconds", ()] == 1.5
        assert found["shoplake_stream_batch_rows", ()] == 120
        assert ("shoplake_stream_lag_records", ()) not in found  # no broker: unknown is not zero


def test_hostile_addresses_make_no_new_series(api: ServedApi):
    before = len(samples(api))
    for number in range(50):
        api.operator.get(f"/no/{number}")
        api.operator.request(f"M{number}", f"/{number}")
        api.operator.request(f"M{number}", "/livez")
    assert len(samples(api)) <= before + 60  # one histogram for all of them


def test_every_answer_carries_security_headers_and_a_request_id(api: ServedApi):
    for path in ("/livez", "/v1/runs", "/nope", "/docs", "/openapi.json"):
        headers = api.operator.get(path, headers={"X-Request-ID": "my-request-1"}).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"] and "server" not in headers
        assert headers["x-request-id"] == "my-request-1"
        assert "access-control-allow-origin" not in headers
    assert api.operator.get("/livez", headers={"X-Request-ID": "a b;c"}).headers["x-request-id"] != "a b;c"


def test_the_log_has_a_line_per_request_and_no_secret(api: ServedApi, capfd):
    key = api.key("logged", "jobs:read")
    client = api.client(key)
    client.get(f"/v1/runs?job=plain&note={key}", headers={"X-Request-ID": "log-line-1"})
    client.get("/v1/jobs")  # is answered by the same loop, when the first one has been logged
    out = "".join(capfd.readouterr())
    lines = [json.loads(line) for line in out.splitlines() if "log-line-1" in line]
    (line,) = [line for line in lines if line.get("request_id") == "log-line-1"]
    assert (line["method"], line["path"], line["status"], line["caller"]) == ("GET", "/v1/runs", 422, "logged")
    assert key not in out and key.split("_", 2)[2] not in out


def test_every_problem_has_its_page(api: ServedApi):
    for kind, found in KINDS.items():
        page = api.client(None).get(f"/problems/{kind}")
        assert page.status_code == 200 and found.title in page.text and found.remedy in page.text


def test_the_docs_page_needs_no_network(api: ServedApi):
    page = api.client(None).get("/docs")
    assert page.status_code == 200 and "https://" not in page.text and "<script>" not in page.text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon.png"):
        assert api.client(None).get(f"/docs/{name}").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_a_public_address_needs_tls_or_an_override(tmp_path, host):
    with pytest.raises(UsageError, match="without TLS"):
        refuse_unsafe(free_settings(tmp_path, api_host=host))
    refuse_unsafe(free_settings(tmp_path, api_host=host, api_public_without_tls=True))


def test_what_is_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "::", "localhost.example.org", "")))  # noqa: S104


def test_the_operator_key_is_for_this_user_only_and_is_kept(tmp_path):
    settings = free_settings(tmp_path)
    registry = RunRegistry.open(settings)
    keep_operator_key(settings, registry)
    path = settings.operator_key_file
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keep_operator_key(settings, registry)
    assert path.read_text() == first
    path.write_text("spoilt")
    keep_operator_key(settings, registry)
    assert path.read_text() not in (first, "spoilt") and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_database_is_for_this_user_only(api: ServedApi):
    files = list(api.settings.data_dir.glob("registry.sqlite3*"))
    assert len(files) >= 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files if path.suffix != ".sqlite3-turn"} == {0o600}


def test_a_page_in_a_browser_under_its_own_name_is_refused(api: ServedApi):
    """DNS rebinding: the name of the page leads to this machine."""
    foreign = ("rebound.example", "rebound.example:8000", "127.0.0.1.rebound.example", "localhost.rebound.example", "[")
    for host in foreign:
        for path in ("/metrics", "/readyz", "/docs"):
            answer = api.operator.get(path, headers={"Host": host})
            assert answer.status_code == 400 and answer.json()["type"] == "/problems/bad-request"
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert api.operator.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("proxies", ["*", "0.0.0.0/0", "10.0.0.1,::/0", "proxy.example"])
def test_it_does_not_believe_everybody(tmp_path, proxies):
    settings = free_settings(tmp_path, api_trusted_proxies=proxies)
    with pytest.raises(UsageError, match="SHOPLAKE_API_TRUSTED_PROXIES has"):
        refuse_unsafe(settings)
    refuse_unsafe(free_settings(tmp_path, api_trusted_proxies="10.0.0.1, 10.1.0.0/16,fd00::/8"))


def api_process(settings) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lakehouse.cli", "api"]
    environment = {**child_environment(settings), "SHOPLAKE_API_HOST": settings.api_host}
    return subprocess.Popen(
        command, env=environment, cwd=settings.data_dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_it_refuses_to_start_unsafe_or_on_a_busy_port_with_one_sentence(tmp_path):
    settings = free_settings(tmp_path, api_host="0.0.0.0")  # noqa: S104
    settings.data_dir.mkdir()
    public = command_line.shoplake("api", environment=child_environment(settings), folder=tmp_path)
    with socket.create_server(("127.0.0.1", settings.api_port)):
        here = child_environment(free_settings(tmp_path, api_port=settings.api_port))
        busy = command_line.shoplake("api", environment=here, folder=tmp_path)
    for done, said in ((public, "without TLS"), (busy, f"Port {settings.api_port} is held by")):
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_it_ends_gracefully_and_its_followers_go_on_with_the_next(tmp_path):
    """SIGTERM while a run is followed: the stream ends properly, and is resumed at another process of the API."""
    settings = free_settings(tmp_path)
    settings.data_dir.mkdir()
    process = api_process(settings)
    wait_until(lambda: says_ok(f"{settings.own_api_url}/livez"), "the API answers")
    key = settings.operator_key_file.read_text().strip()
    client = httpx.Client(
        base_url=settings.own_api_url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60
    )
    registry = RunRegistry.open(settings)
    job = registry.jobs["cohort_retention"]
    run_id = registry.submit(job, job.parse({}), caller="operator").run.id
    received: list[str] = []
    has_first = threading.Event()

    def follow() -> None:
        with client.stream("GET", f"/v1/runs/{run_id}/events") as answer:
            for line in answer.iter_lines():
                received.append(line)
                has_first.set()

    reader = threading.Thread(target=follow)
    reader.start()
    assert has_first.wait(60)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    reader.join(10)
    assert process.returncode in (0, -signal.SIGTERM) and "Traceback" not in said and not reader.is_alive()
    last = [line.removeprefix("id: ") for line in received if line.startswith("id: ")][-1]
    again = api_process(settings)
    try:
        wait_until(lambda: says_ok(f"{settings.own_api_url}/livez"), "the API answers again")
        registry.cancel(run_id, "enough")
        answer = client.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": last})
        assert answer.text.count("event: state") == 1 and '"cancelled"' in answer.text
        assert settings.operator_key_file.read_text().strip() == key
    finally:
        os.kill(again.pid, signal.SIGKILL)
        again.communicate()


def test_many_who_ask_how_a_slow_part_is_ask_it_once(tmp_path: Path) -> None:
    settings, asked = free_settings(tmp_path), []
    registry = RunRegistry.open(settings)
    readiness = Readiness(settings, registry)

    def probe() -> str:
        asked.append(1)
        time.sleep(0.5)
        return "does not answer"

    readiness._probes["kafka"] = probe
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: readiness.check("kafka"), range(20)))
    registry.close()
    assert (set(answers), len(asked)) == ({"does not answer"}, 1)
