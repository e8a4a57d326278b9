"""Runs over HTTP: starting each once, listing, looking, following and cancelling them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
import sqlalchemy as sa
from httpx_sse import connect_sse

from lakehouse.runs.claims import Line
from lakehouse.runs.models import AuditRow
from lakehouse.runs.states import State
from tests.support.served_api import ServedApi, is_problem, served, wait_until

RUNS = "/v1/jobs/plain/runs"


def test_jobs_are_listed_with_their_parameters(api: ServedApi):
    items = {job["name"]: job for job in api.operator.get("/v1/jobs").json()["items"]}
    assert set(items) == set(api.registry.jobs)
    retention = items["cohort_retention"]
    assert retention["parameters"]["properties"]["timezone"]["default"] == "UTC"
    assert "gold.cohort_retention" in retention["writes"] and retention["schedule"]
    assert api.operator.get("/v1/jobs/cohort_retention").json() == retention


def test_a_run_is_accepted_with_its_address(api: ServedApi):
    answer = api.operator.post("/v1/jobs/cohort_retention/runs", json={"parameters": {"timezone": "Asia/Tokyo"}})
    assert answer.status_code == 202
    body = answer.json()
    assert body["state"] == "queued" and answer.headers["location"] == body["links"]["run"] == f"/v1/runs/{body['id']}"
    shown = api.operator.get(answer.headers["location"]).json()
    assert shown["parameters"] == {"as_of": str(datetime.now(ZoneInfo("Asia/Tokyo")).date()), "timezone": "Asia/Tokyo"}
    assert (shown["caller"], shown["trigger"], shown["state"]) == ("operator", "api", "queued")
    assert "session_id" not in shown and "worker" not in shown


def test_the_same_key_and_body_is_the_same_run_and_answer(api: ServedApi):
    headers, body = {"Idempotency-Key": "again"}, {"parameters": {"number": 2, "text": "b"}}
    first = api.operator.post(RUNS, json=body, headers=headers)
    claims, run = api.take(first.json()["id"])
    claims.end(run, State.succeeded, "done", result={"rows": 1})
    other_order = {"parameters": {"text": "b", "number": 2}}
    for sent in (body, other_order):
        again = api.operator.post(RUNS, json=sent, headers=headers)
        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers


def test_a_key_stands_for_one_thing_and_belongs_to_its_caller(api: ServedApi):
    headers = {"Idempotency-Key": "a:b"}
    assert api.operator.post(RUNS, json={}, headers=headers).status_code == 202
    other_body = api.operator.post(RUNS, json={"parameters": {"number": 2}}, headers=headers)
    assert "'a:b' stands for run " in is_problem(other_body, 422, "key-reused")["detail"]
    is_problem(api.operator.post("/v1/jobs/sparkless/runs", json={}, headers=headers), 422, "key-reused")
    other_caller = api.caller("key-other", "jobs:run").post(RUNS, json={}, headers=headers)
    assert other_caller.status_code == 202 and "idempotent-replayed" not in other_caller.headers
    for key in ("", "a" * 201, "a b"):
        is_problem(api.operator.post(RUNS, headers={"Idempotency-Key": key}), 422, "wrong-parameter")


def test_a_full_queue_asks_for_patience(tmp_path):
    with served(tmp_path, max_queued_runs=3) as api:
        low = api.caller("low", "jobs:run")
        api.start(client=low)
        is_problem(low.post(RUNS), 429, "queue-full")  # nobody fills it alone
        for name in ("one", "two"):
            api.start(client=api.caller(name, "jobs:run"))
        is_problem(api.operator.post(RUNS), 429, "queue-full")
        first = api.operator.get("/v1/runs").json()["items"][0]["id"]
        api.operator.post(f"/v1/runs/{first}/cancel")
        api.start()


def test_a_thousand_starts_from_fifty_threads_make_one_run_per_key(tmp_path):
    """20 keys, 50 callers' threads, 1,000 calls: only 202 and 429, one run per key, and all of them end."""
    with served(tmp_path, max_queued_runs=20) as api:
        answers: dict[str, set[str]] = {f"key-{number}": set() for number in range(20)}
        counts: dict[int, int] = {}
        lock, begin = threading.Lock(), threading.Barrier(50)

        def call(thread: int) -> None:
            with api.client(api.settings.operator_key_file.read_text().strip()) as client:
                begin.wait()
                for turn in range(20):
                    job = ("plain", "sparkless")[(thread + turn) % 2] if turn % 4 == 3 else "plain"
                    key = f"key-{(thread + turn) % 20}" if job == "plain" else ""
                    answer = client.post(f"/v1/jobs/{job}/runs", headers={"Idempotency-Key": key} if key else {})
                    with lock:
                        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
                        if key and answer.status_code == 202:
                            answers[key].add(answer.text)

        stop = threading.Event()
        ended: list[str] = []
        worker = threading.Thread(target=_work_off, args=(api, stop, ended))
        worker.start()
        with ThreadPoolExecutor(50) as pool:
            list(pool.map(call, range(50)))
        everything = api.registry.list(limit=2_000)
        wait_until(lambda: all(run.is_terminal for run in api.registry.list(limit=2_000)), "all runs have ended")
        stop.set()
        worker.join()
        assert sum(counts.values()) == 1_000 and set(counts) <= {202, 429}, counts
        assert all(len(told) <= 1 for told in answers.values())
        accepted = {json.loads(text)["id"] for told in answers.values() for text in told}
        assert len(accepted) == sum(len(told) for told in answers.values()) >= 10
        assert len(ended) == len(set(ended)) == len(everything)
        assert {run.state for run in api.registry.list(limit=2_000)} == {State.succeeded}


def _work_off(api: ServedApi, stop: threading.Event, ended: list[str]) -> None:
    from lakehouse.runs.claims import Claims

    claims = Claims(api.registry)
    while not stop.is_set():
        run = claims.take("worker", "session")
        if run is None:
            stop.wait(0.005)
            continue
        assert len(api.registry.list(states=["running"], limit=100)) <= api.settings.max_parallel_runs
        claims.end(run, State.succeeded, "done", result={})
        ended.append(run.id)


def test_pages_hold_every_run_once_while_new_ones_come(api: ServedApi):
    client = api.caller("pages", "jobs:run", "jobs:read")
    ids = [api.start(client=client) for _ in range(7)]
    found, cursor = [], None
    while True:
        page = client.get("/v1/runs", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        found += [run["id"] for run in page["items"]]
        api.start(client=client)  # newer than the first page: never seen
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["items"]) == 3
    assert found == ids[::-1]


def test_runs_are_found_by_job_state_and_time(api: ServedApi):
    client = api.caller("filters", "jobs:run", "jobs:read", "jobs:cancel")
    first = api.start(client=client)
    between = datetime.now(UTC)
    second = api.start("sparkless", client=client)
    client.post(f"/v1/runs/{first}/cancel")

    def ids(**filters: object) -> list[str]:
        return [run["id"] for run in client.get("/v1/runs", params=filters).json()["items"]]

    assert ids(job="plain") == [first] and ids(job="sparkless") == [second]
    assert ids(state="cancelled") == [first] and ids(state=["cancelled", "queued"]) == [second, first]
    assert ids(created_after=between.isoformat()) == [second]
    assert ids(created_before=between.isoformat()) == [first]
    elsewhere = between.astimezone(tz=datetime.fromisoformat("2026-01-01T00:00:00+05:30").tzinfo)
    assert ids(created_before=elsewhere.isoformat()) == [first]
    assert ids(created_after=(between + timedelta(hours=1)).isoformat()) == []


def test_cancelling_is_told_as_it_is(api: ServedApi):
    running = api.start("sparkless")
    claims, run = api.take(running)
    waiting = api.start()
    assert api.operator.post(f"/v1/runs/{waiting}/cancel").json()["state"] == "cancelled"
    first = api.operator.post(f"/v1/runs/{running}/cancel")
    assert (first.status_code, first.json()["state"]) == (202, "cancelling")
    assert api.operator.post(f"/v1/runs/{running}/cancel").json()["state"] == "cancelling"
    claims.end(run, State.cancelled, "stopped")
    again = api.operator.post(f"/v1/runs/{running}/cancel").json()
    assert again["state"] == "cancelled" and again["finished_at"]


def collect(
    client: httpx.Client, run_id: str, after: str = "", stop_after: int = 10_000
) -> list[tuple[str, str, dict]]:
    headers = {"Last-Event-ID": after} if after else {}
    found = []
    with connect_sse(client, "GET", f"/v1/runs/{run_id}/events", headers=headers) as source:
        assert source.response.headers["content-type"].startswith("text/event-stream")
        assert source.response.headers["cache-control"] == "no-store"
        for event in source.iter_sse():
            found.append((event.id, event.event, event.json()))
            if len(found) >= stop_after:
                break
    return found


def test_events_are_followed_live_and_resumed_without_gap_or_repetition(api: ServedApi):
    run_id = api.start("sparkless")
    seen: list[tuple[str, str, dict]] = []
    reader = threading.Thread(target=lambda: seen.extend(collect(api.client(_operator(api)), run_id)))
    reader.start()
    claims, run = api.take(run_id)
    for step in range(1, 6):
        claims.beat(run, {"step": step, "steps": 5})
    first = collect(api.operator, run_id, stop_after=4)
    rest_from = first[-1][0]
    claims.end(run, State.succeeded, "done", result={"rows_written": 3})
    reader.join(30)
    assert not reader.is_alive()
    rest = collect(api.operator, run_id, after=rest_from)
    assert first + rest == seen
    assert [event[2]["state"] for event in seen if event[1] == "state"] == ["queued", "running", "succeeded"]
    assert [event[2]["data"]["step"] for event in seen if event[1] == "progress"] == [1, 2, 3, 4, 5]
    numbers = [int(event[0]) for event in seen]
    assert numbers == sorted(set(numbers))
    over = api.operator.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": seen[-1][0]})
    assert over.status_code == 204


def _operator(api: ServedApi) -> str:
    return api.settings.operator_key_file.read_text().strip()


def test_the_log_is_read_in_pages(api: ServedApi):
    run_id = api.start("sparkless")
    claims, run = api.take(run_id)
    claims.beat(run, lines=[Line(f"line {number}", fields={"number": number}) for number in range(5)])
    page = api.operator.get(f"/v1/runs/{run_id}/logs", params={"limit": 2}).json()
    assert [line["message"] for line in page["items"]] == ["line 0", "line 1"]
    rest = api.operator.get(f"/v1/runs/{run_id}/logs", params={"after": page["next_after"]}).json()
    assert [line["fields"]["number"] for line in rest["items"]] == [2, 3, 4]
    claims.end(run, State.failed, "no", error={"code": "x", "message": "no"}, lines=[Line("last", "error")])
    end = api.operator.get(f"/v1/runs/{run_id}/logs", params={"after": rest["next_after"]}).json()
    assert [(line["level"], line["message"]) for line in end["items"]] == [("error", "last")]
    nothing = api.operator.get(f"/v1/runs/{run_id}/logs", params={"after": end["next_after"]}).json()
    assert nothing == {"items": [], "next_after": end["next_after"]}


def test_a_failed_run_says_why(api: ServedApi):
    run_id = api.start("sparkless")
    claims, run = api.take(run_id)
    claims.end(run, State.failed, "no", error={"code": "usage", "message": "The day is wrong."})
    shown = api.operator.get(f"/v1/runs/{run_id}").json()
    assert shown["state"] == "failed" and shown["error"] == {"code": "usage", "message": "The day is wrong."}


def test_results_that_are_no_json_numbers_do_not_break_the_answer(api: ServedApi):
    run_id = api.start("sparkless")
    claims, run = api.take(run_id)
    claims.end(run, State.succeeded, "done", result={"share": float("nan"), "text": "é\u2028"})
    for path in (f"/v1/runs/{run_id}", "/v1/runs"):
        answer = api.operator.get(path)
        assert answer.status_code == 200 and b"NaN" not in answer.content


def test_followers_are_bounded_and_their_places_come_back(tmp_path):
    with served(tmp_path, api_max_followers=2) as api:
        run_id = api.start()
        path = f"/v1/runs/{run_id}/events"
        with api.client(_operator(api)).stream("GET", path), api.client(_operator(api)).stream("GET", path):
            is_problem(api.operator.get(path), 429, "too-many-requests")
            assert api.operator.get(f"/v1/runs/{run_id}").status_code == 200
        wait_until(lambda: len(collect(api.operator, run_id, stop_after=1)) == 1, "a place is free again")


def test_schedules_are_paused_and_resumed(api: ServedApi):
    before = {one["job"]: one for one in api.operator.get("/v1/schedules").json()["items"]}
    assert {"cohort_retention", "maintenance"} <= set(before)
    assert before["cohort_retention"]["next_due_at"] > datetime.now(UTC).isoformat()
    paused = api.operator.post("/v1/schedules/cohort_retention/pause").json()
    assert paused["paused"] and paused["next_due_at"] is None
    resumed = api.operator.post("/v1/schedules/cohort_retention/resume").json()
    assert not resumed["paused"] and resumed["next_due_at"]


@pytest.mark.parametrize("what", ["caller", "address"])
def test_rates_are_limited_per_caller_and_per_address(tmp_path, what):
    with served(tmp_path, **{f"api_{what}_requests_per_minute": 10}) as api:
        client = api.client(api.key("fast", "jobs:read"))
        answers = [client.get("/v1/jobs") for _ in range(12)]
        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        is_problem(answers[-1], 429, "too-many-requests")
        other = api.caller("other", "jobs:read").get("/v1/jobs")
        assert other.status_code == (200 if what == "caller" else 429)


def test_requests_without_a_key_keep_no_key_and_no_supervisor_out(tmp_path):
    """Any page in a browser can send them from the operator's own address."""
    with served(tmp_path, api_address_requests_per_minute=10) as api:
        flood = [api.client(None).get("/readyz").status_code for _ in range(12)]
        assert flood[-1] == 429
        assert api.client(None).get("/livez").status_code == 200
        assert api.operator.get("/v1/jobs").status_code == 200


def test_a_caller_without_the_scope_fills_no_audit_trail(tmp_path):
    with served(tmp_path, api_address_requests_per_minute=500) as api:
        reader, clerk = api.caller("reader", "gold:read"), api.caller("clerk", "jobs:run")
        body = {"parameters": {"user": "u1"}}
        for denied in (lambda: reader.get("/v1/jobs"), lambda: clerk.post("/v1/jobs/forget/runs", json=body)):
            statuses = [denied().status_code for _ in range(14)]
            assert statuses[:10] == [403] * 10 and statuses[-1] == 429
        with api.registry.database.reading() as session:
            rows = (
                sa.select(AuditRow.caller, sa.func.count())
                .where(AuditRow.action == "access.denied")
                .group_by(AuditRow.caller)
            )
            assert dict(session.execute(rows).all()) == {"reader": 10, "clerk": 10}


def test_many_wrong_keys_are_answered_with_429_and_a_right_one_still_works(tmp_path):
    with served(tmp_path, api_address_requests_per_minute=1_000) as api:
        wrong = api.client("slk_0000000000000000_" + "a" * 43)
        statuses = [wrong.get("/v1/jobs").status_code for _ in range(22)]
        assert statuses[:20] == [401] * 20 and statuses[-1] == 429
        assert api.operator.get("/v1/jobs").status_code == 200
