"""Who may do what: every operation of the OpenAPI document, with every scope, on one's own and on another's run."""

import base64
import hashlib
import itertools
import json
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa

from api import keys, openapi
from lakehouse.api_client import USER_AGENT
from lakehouse.runs.models import ApiKeyRow, AuditRow
from tests.support.served_api import ServedApi, is_problem, wait_until

DOCUMENT = json.loads(openapi.PATH.read_text())
OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
GUARDED = [(method, path, operation) for method, path, operation in OPERATIONS if operation.get("security")]
QUERIES = {
    "/v1/trace/event": "?event_id=e1",
    "/v1/trace/figure": "?table=gold.kpis_hourly&hour=2026-09-03T10:00:00Z&column=clicks",
}
"""Of addresses that answer no question without one. There is no lake behind the API of these tests."""
FREE = {"/livez", "/readyz", "/metrics", "/problems/{kind}"}


def names(operation: tuple[str, str, dict]) -> str:
    return f"{operation[0]} {operation[1]}"


def scope_of(operation: dict) -> str:
    (scopes,) = {tuple(scopes) for scheme in operation["security"] for scopes in scheme.values()}
    (scope,) = scopes
    return scope


def call(client: httpx.Client, method: str, path: str, run_id: str) -> httpx.Response:
    path = path.format(run_id=run_id, job="cohort_retention") + QUERIES.get(path, "")
    with client.stream(method, path) as answer:
        if answer.status_code != 200 or "event-stream" not in answer.headers["content-type"]:
            answer.read()
        return answer


def test_only_these_need_no_key():
    assert {path for _, path, operation in OPERATIONS if not operation.get("security")} == FREE
    assert len(GUARDED) >= 16


@pytest.mark.parametrize("guarded", GUARDED, ids=names)
def test_without_a_valid_key_nothing_is_told(api: ServedApi, guarded):
    method, path, _ = guarded
    run_id = api.start()
    valid = api.key("someone", "admin")
    wrong = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer é".encode()},
        {"Authorization": f"Basic {base64.b64encode(b'a:b').decode()}"},
        {"Authorization": f"Bearer {valid[:-1]}"},
        {"Authorization": f"Bearer {valid}x"},
        {"Authorization": f"Bearer {keys.PREFIX}_{'0' * 16}_{valid.rsplit('_', 1)[-1]}"},
        {"X-API-Key": valid[:-2]},
    ]
    for headers in wrong:
        is_problem(call(api.client(None, **headers), method, path, run_id), 401, "not-authenticated")


@pytest.mark.parametrize("guarded", GUARDED, ids=names)
@pytest.mark.parametrize("scope", keys.SCOPES)
def test_matrix_of_scopes_and_owners(api: ServedApi, guarded, scope):
    method, path, operation = guarded
    name = f"m-{scope.replace(':', '-')}"
    owner = api.caller(name, "jobs:run", "jobs:read")
    own, foreign = api.start(client=owner), api.start()
    client = api.caller(name, scope)
    needed = scope_of(operation)
    may, sees_all = scope in (needed, "admin"), scope == "admin"
    for run_id, is_own in ((own, True), (foreign, False)):
        answer = call(client, method, path, run_id)
        if not may:
            body = is_problem(answer, 403, "missing-scope")
            assert needed in body["detail"] and needed in answer.headers["www-authenticate"]
        elif "{run_id}" in path and not (is_own or sees_all):
            # The same answer as for a run that does not exist.
            missing = call(client, method, path, "00000000-0000-7000-8000-000000000000")
            assert is_problem(answer, 404, "unknown-run") | {"request_id": ""} == is_problem(
                missing, 404, "unknown-run"
            ) | {"request_id": ""}
        elif path in QUERIES:
            assert "S3 does not answer" in is_problem(answer, 503, "dependency-away")["detail"]
        else:
            assert answer.is_success, answer.status_code


def test_who_may_start_jobs_may_not_forget_a_person(api: ServedApi):
    body = {"parameters": {"user": "u-4711-asked"}}
    answer = api.caller("clerk", "jobs:run").post("/v1/jobs/forget/runs", json=body)
    assert is_problem(answer, 403, "missing-scope")["detail"].startswith("forget needs the scope admin.")
    assert api.caller("officer", "admin").post("/v1/jobs/forget/runs", json=body).status_code == 202


def test_who_is_to_be_forgotten_is_told_to_nobody(api: ServedApi):
    headers = {"Idempotency-Key": "forget-once"}
    body = {"parameters": {"user": "u-4711-asked"}}
    answers = [api.operator.post("/v1/jobs/forget/runs", json=body, headers=headers) for _ in range(2)]
    (run_id,) = {answer.json()["id"] for answer in answers}
    run = api.operator.get(f"/v1/runs/{run_id}")
    assert run.json()["parameters"]["user"].startswith("person-")
    assert "u-4711-asked" not in run.text + "".join(answer.text for answer in answers)
    stored = b"".join(path.read_bytes() for path in api.settings.data_dir.glob("registry.sqlite3*"))
    assert b"u-4711-asked" not in stored
    unkeyed = hashlib.sha256(json.dumps(["forget", body["parameters"]], sort_keys=True).encode()).hexdigest()
    assert unkeyed.encode() not in stored, "a hash that anybody can make is a guess away"


def test_a_caller_lists_only_its_own_runs_and_admin_all(api: ServedApi):
    mine, other = api.caller("mine", "jobs:run", "jobs:read"), api.caller("other", "jobs:run", "jobs:read")
    ids = {api.start(client=mine), api.start(client=mine)}
    foreign = api.start(client=other)
    assert {run["id"] for run in mine.get("/v1/runs").json()["items"]} == ids
    assert {run["caller"] for run in other.get("/v1/runs").json()["items"]} == {"other"}
    everything = {run["id"] for run in api.operator.get("/v1/runs").json()["items"]}
    assert ids | {foreign} <= everything


def test_a_foreign_run_stays_as_it_was(api: ServedApi):
    run_id = api.start()
    stranger = api.caller("stranger", "jobs:cancel", "jobs:read", "jobs:run")
    is_problem(stranger.post(f"/v1/runs/{run_id}/cancel"), 404, "unknown-run")
    assert api.operator.get(f"/v1/runs/{run_id}").json()["state"] == "queued"


def test_a_key_is_kept_hashed_and_its_use_is_noted(api: ServedApi):
    key = api.key("noted", "jobs:read")
    assert api.client(key).get("/v1/jobs").status_code == 200
    with api.registry.database.reading() as session:
        (row,) = session.scalars(sa.select(ApiKeyRow).where(ApiKeyRow.name == "noted"))
    assert row.last_used_at is not None and row.scopes == ["jobs:read"]
    secret = key.split("_", 2)[2]
    assert secret not in row.secret_hash and len(row.secret_hash) == 64
    database = api.settings.data_dir / "registry.sqlite3"
    stored = b"".join(path.read_bytes() for path in database.parent.glob("registry.sqlite3*"))
    assert row.secret_hash.encode() in stored and secret.encode() not in stored


def test_expired_and_revoked_keys_are_refused_at_once(api: ServedApi):
    expired = api.key("expired", "jobs:read", lifetime=timedelta(seconds=-1))
    is_problem(api.client(expired).get("/v1/jobs"), 401, "not-authenticated")
    key = api.key("revoked", "jobs:read")
    client = api.client(key)
    assert client.get("/v1/jobs").status_code == 200
    assert keys.revoke(api.registry.database, "revoked") == 1
    is_problem(client.get("/v1/jobs"), 401, "not-authenticated")


def test_a_caller_is_refused_when_the_key_expires(api: ServedApi):
    client = api.client(api.key("brief", "gold:read", lifetime=timedelta(seconds=3)))
    assert [client.get("/v1/gold/kpis").status_code for _ in range(3)] == [200] * 3
    wait_until(lambda: client.get("/v1/gold/kpis").status_code == 401, "the key has expired", 30)


def test_a_caller_without_the_scope_gets_no_kept_answer(api: ServedApi):
    assert api.caller("reads", "gold:read").get("/v1/gold/kpis").status_code == 200
    other = api.caller("runs", "jobs:run")
    for _ in range(3):
        is_problem(other.get("/v1/gold/kpis"), 403, "missing-scope")


def test_a_key_works_in_either_header(api: ServedApi):
    key = api.key("either", "jobs:read")
    assert api.client(None, **{"X-API-Key": key}).get("/v1/jobs").status_code == 200
    assert api.client(None, Authorization=f"bearer {key}").get("/v1/jobs").status_code == 200


def test_what_was_done_and_refused_is_in_the_audit_trail(api: ServedApi):
    client = api.caller("audited", "jobs:run", "jobs:cancel")
    started = client.post("/v1/jobs/plain/runs", headers={"X-Request-ID": "trail-0001"})
    run_id = started.json()["id"]
    client.post(f"/v1/runs/{run_id}/cancel")
    client.get("/v1/jobs")
    with api.registry.database.reading() as session:
        rows = list(session.scalars(sa.select(AuditRow).where(AuditRow.caller == "audited").order_by(AuditRow.seq)))
    assert [(row.action, row.target, row.outcome) for row in rows] == [
        ("run.start", f"plain {run_id}", "done"),
        ("run.cancel", run_id, "done"),
        ("access.denied", "/v1/jobs", "missing-scope"),
    ]
    assert rows[0].request_id == "trail-0001" and rows[0].address == "127.0.0.1"


def test_every_operation_is_described_for_people():
    for method, path, operation in OPERATIONS:
        where = f"{method} {path}"
        assert operation["summary"] and operation["description"].endswith((".", "`.")), where
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert errors, where
        for status, answer in errors.items():
            assert set(answer["content"]) == {"application/problem+json"} and answer["description"], (where, status)
        for parameter in operation.get("parameters", []):
            assert parameter["in"] == "path" or parameter.get("description"), (where, parameter["name"])
    assert len(set(itertools.chain.from_iterable(op["tags"] for _, _, op in OPERATIONS))) == 6


def test_a_caller_cannot_pretend_to_be_the_command_line(api: ServedApi):
    with api.client(api.key("pretender", "jobs:run", "jobs:read"), **{"User-Agent": USER_AGENT}) as client:
        assert client.get(f"/v1/runs/{api.start(client=client)}").json()["trigger"] == "api"
