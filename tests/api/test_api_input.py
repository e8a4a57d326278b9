"""Bad input: every row of the table of errors, text that wants to be code, and bodies that are too much or too slow."""

import json

import pytest
import sqlalchemy as sa

from api.problems import KINDS
from lakehouse.runs.models import Base
from tests.support.served_api import ServedApi, is_problem

RUNS = "/v1/jobs/plain/runs"
JSON = {"Content-Type": "application/json"}
INJECTIONS = [
    "'; DROP TABLE runs; --",
    '" OR 1=1 --',
    "a' UNION SELECT secret_hash FROM api_keys --",
    "$(touch /tmp/pwned)",
    "`id`",
    "; rm -rf /",
    "| cat /etc/passwd",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "file:///etc/passwd",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}",
    "%s%s%s%n",
    "<script>alert(1)</script>",
    "a\r\nSet-Cookie: x=1",
    "\x00",
    "a\x00b",
    "\u202e\u0000\uffff",
    "𝕊𝕢𝕝" * 50,
    "1e400",
    "-1",
    "",
    " ",
    "a" * 3_000,
    "null",
    "[]",
]


def tables(api: ServedApi) -> dict[str, int]:
    with api.registry.database.reading() as session:
        return {
            name: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
            if name in ("runs", "run_events", "idempotency", "schedules")
        }


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "bad-json"),
        (b"{'parameters': {}}", 400, "bad-json"),
        (b"\xff\xfe", 400, "bad-json"),
        (b'{"parameters": {"number": NaN}}', 400, "bad-json"),
        (b"[" * 60_000, 400, "bad-json"),
        (b'{"a":' * 10_000, 400, "bad-json"),
        (b"{}{}", 400, "bad-json"),
        (b"9" * 60_000, 400, "bad-json"),
        (b"[]", 422, "wrong-parameter"),
        (b"null", 422, "wrong-parameter"),
        (b'"text"', 422, "wrong-parameter"),
        (b'{"parameters": null}', 422, "wrong-parameter"),
        (b'{"parameters": []}', 422, "wrong-parameter"),
        (b'{"parameter": {}}', 422, "wrong-parameter"),
        (b'{"parameters": {"number": "many"}}', 422, "wrong-parameter"),
        (b'{"parameters": {"number": 1e400}}', 422, "wrong-parameter"),
        (b'{"parameters": {"text": "\\ud800"}}', 422, "wrong-parameter"),
        (b'{"parameters": {"\\ud800": 1}}', 422, "wrong-parameter"),
    ],
)
def test_a_wrong_body_starts_nothing(api: ServedApi, body, status, kind):
    before = tables(api)
    is_problem(api.operator.post(RUNS, content=body, headers=JSON), status, kind)
    assert tables(api) == before


def test_a_wrong_parameter_is_named_with_what_is_expected(api: ServedApi):
    given = {"parameters": {"mode": "medium", "number": 10, "nmber": 1}}
    body = is_problem(api.operator.post(RUNS, json=given), 422, "wrong-parameter")
    by_field = {error["field"]: error for error in body["errors"]}
    assert by_field["parameters.mode"]["expected"]["enum"] == ["fast", "slow"]
    assert by_field["parameters.number"]["expected"]["maximum"] == 9
    assert by_field["parameters.nmber"]["known"] == ["mode", "number", "text"]
    assert by_field["parameters.mode"]["message"] == "it must be 'fast' or 'slow'"
    assert by_field["parameters.number"]["message"] == "it must be 9 or less"
    assert body["detail"].startswith(
        "The parameter nmber of plain is wrong: there is nothing of that name; there are text, mode, number."
    )


def test_an_answer_is_not_many_times_as_long_as_its_question(api: ServedApi):
    given = {"parameters": {f"n{number}": 1 for number in range(5_000)}}
    body = is_problem(api.operator.post(RUNS, json=given), 422, "wrong-parameter")
    assert 50 < len(body["errors"]) < 500 and "n0 of plain" in body["detail"]


def test_no_answer_sends_its_reader_to_the_answer_itself():
    assert [name for name, kind in KINDS.items() if "`detail`" in kind.remedy] == []


def test_wrong_query_parameters_are_named(api: ServedApi):
    body = is_problem(api.operator.get("/v1/runs?stat=queued&limit=0"), 422, "wrong-parameter")
    by_field = {error["field"]: error for error in body["errors"]}
    assert by_field["limit"]["expected"]["minimum"] == 1 and "state" in by_field["stat"]["known"]
    for query in (
        "state=asleep",
        "job=cohorts",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "cursor=1",
        "cursor=%00",
        "limit=1e3",
        "limit=99999999999999999999",
    ):
        is_problem(api.operator.get(f"/v1/runs?{query}"), 422, "wrong-parameter")
    run_id = api.start()
    for path, headers in (("logs?after=-1", {}), ("logs?after=99999999999999999999", {}), ("logs?limit=0", {})):
        is_problem(api.operator.get(f"/v1/runs/{run_id}/{path}", headers=headers), 422, "wrong-parameter")
    for event in ("x", "-1", "99999999999999999999"):
        answer = api.operator.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": event})
        is_problem(answer, 422, "wrong-parameter")


def test_addresses_and_methods_that_do_not_exist(api: ServedApi):
    known = is_problem(api.operator.post("/v1/jobs/cohorts/runs"), 404, "unknown-job")["known"]
    assert "cohort_retention" in known
    is_problem(api.operator.get("/v1/jobs/cohorts"), 404, "unknown-job")
    is_problem(api.operator.get("/v1/runs/1"), 404, "unknown-run")
    is_problem(api.operator.post("/v1/schedules/plain/pause"), 404, "unknown-schedule")
    for path in ("/", "/v1", "/v2/jobs", "/v1/jobs/", "/v1/jobs/plain/runs/", "/redoc", "/problems/none", "/docs/../x"):
        is_problem(api.operator.get(path), 404, "not-found")
    for method, path, allowed in (("PUT", "/v1/jobs", "GET"), ("DELETE", RUNS, "POST"), ("TRACE", "/livez", "GET")):
        answer = api.operator.request(method, path)
        is_problem(answer, 405, "method-not-allowed")
        assert allowed in answer.headers["allow"]


def test_the_media_type_must_be_right(api: ServedApi):
    for media_type in ("text/plain", "application/xml", "", "application/x-www-form-urlencoded"):
        answer = api.operator.post(RUNS, content=b"{}", headers={"Content-Type": media_type})
        is_problem(answer, 415, "wrong-media-type")
    for media_type in ("application/json; charset=utf-8", "APPLICATION/JSON"):
        assert api.operator.post(RUNS, content=b"{}", headers={"Content-Type": media_type}).status_code == 202
    assert api.operator.post(RUNS).status_code == 202  # no body is an empty one


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_text_that_wants_to_be_code_is_only_text(api: ServedApi, text):
    """In every parameter there is: never a 5xx, never another table or header, kept as it is where it is allowed."""
    before = tables(api)
    answer = api.operator.post(RUNS, json={"parameters": {"text": text}})
    if len(text) <= 2_000:
        assert answer.status_code == 202
        assert api.operator.get(answer.headers["location"]).json()["parameters"]["text"] == text
        before |= {"runs": before["runs"] + 1, "run_events": before["run_events"] + 1}
    else:
        is_problem(answer, 422, "wrong-parameter")
    refused = [
        api.operator.post("/v1/jobs/cohort_retention/runs", json={"parameters": {"timezone": text}}),
        api.operator.post("/v1/jobs/cohort_retention/runs", json={"parameters": {text: "UTC"}}),
        api.operator.post("/v1/jobs/backfill/runs", json={"parameters": {"from_date": text}}),
        api.operator.post("/v1/jobs/replay_quarantine/runs", json={"parameters": {"limit": text}}),
        api.operator.post(RUNS, json={text: {}}),
        api.operator.get("/v1/runs", params={"job": text}),
        api.operator.get("/v1/runs", params={"state": text}),
        api.operator.get("/v1/runs", params={"cursor": text}),
        api.operator.get("/v1/runs", params={"created_after": text}),
        api.operator.get("/v1/runs", params={"no" + text: "1"}),
    ]
    for one in refused:
        is_problem(one, 422, "wrong-parameter")
    from urllib.parse import quote

    inside = quote(text, safe="")
    paths = (f"/v1/jobs/{inside}", f"/v1/runs/{inside}", f"/v1/runs/{inside}/logs", f"/problems/{inside}")
    for one in map(api.operator.get, paths):
        assert one.status_code in (200, 404) and "set-cookie" not in one.headers
    answer = api.operator.post(f"/v1/schedules/{inside}/pause")
    assert answer.status_code in (404, 405)
    assert tables(api) == before


@pytest.mark.parametrize("depth", [101, 5_000, 50_000])
def test_a_fix_that_is_nested_without_end_is_a_problem(api: ServedApi, depth: int):
    given = {"reason": "wrong_type", "fix": f"default a={'[' * depth}"}
    answer = api.operator.post("/v1/jobs/replay_quarantine/runs", json={"parameters": given})
    assert answer.status_code in (413, 422)
    is_problem(answer, answer.status_code, "wrong-parameter" if answer.status_code == 422 else "body-too-large")


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Request-ID", "If-None-Match", "Last-Event-ID", "X-API-Key"])
def test_headers_that_want_to_be_code(api: ServedApi, header):
    run_id = api.start()
    for text in ("' OR '1'='1", "$(id)", "../../etc/passwd", "\t", "a" * 5_000, "é", "\x01"):
        coded = text.encode()
        for method, path in (("POST", RUNS), ("GET", f"/v1/runs/{run_id}"), ("GET", f"/v1/runs/{run_id}/logs")):
            try:
                answer = api.operator.request(method, path, headers=[(header.encode(), coded)])
            except Exception as error:  # the client itself refuses what is no header
                assert "Illegal header" in str(error)
                continue
            assert answer.status_code < 500 and text not in answer.headers.get("x-request-id", "")


def raw(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def key_of(api: ServedApi) -> str:
    return f"Authorization: {api.operator.headers['Authorization']}"


def status_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    told = json.loads(body)
    assert b"application/problem+json" in head and b"request-id" in head.lower()
    assert KINDS[told["type"].removeprefix("/problems/")].status == status == told["status"]
    return status, told["type"]


def test_oversized_bodies_are_refused_however_they_come(api: ServedApi):
    limit = api.settings.api_max_body_kb * 1024
    before = tables(api)
    fits = b'{"parameters": {}}'.ljust(limit)
    assert api.operator.post(RUNS, content=fits, headers=JSON).status_code == 202
    for content in (fits + b" ", iter([fits, b" "])):  # the second is chunked
        is_problem(api.operator.post(RUNS, content=content, headers=JSON), 413, "too-large")
    announced = raw("POST", RUNS, "Content-Length: 99999999999")
    assert status_of(api.send(announced)) == (413, "/problems/too-large")
    chunked = raw("POST", RUNS, key_of(api), "Transfer-Encoding: chunked")
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    assert status_of(api.send(chunked, chunk, chunk, chunk, b"1\r\na\r\n")) == (413, "/problems/too-large")
    assert tables(api)["runs"] == before["runs"] + 1


def test_slow_bodies_and_headers_are_given_up(api: ServedApi):
    slow = raw("POST", RUNS, key_of(api), "Content-Length: 100") + b"{"
    assert status_of(api.send(slow)) == (408, "/problems/too-slow")
    drops = [b" "] * 8
    assert status_of(api.send(slow, *drops, pause=0.5)) == (408, "/problems/too-slow")
    assert status_of(api.send(raw("POST", RUNS, key_of(api), "Transfer-Encoding: chunked"))) == (
        408,
        "/problems/too-slow",
    )
    assert status_of(api.send(b"GET /livez HTTP/1.1\r\nHost:")) == (408, "/problems/too-slow")
    assert status_of(api.send(b"GET /livez HTTP/1.1\r\n", *[b"A: b\r\n"] * 8, pause=0.5)) == (408, "/problems/too-slow")
    assert status_of(api.send(b"")) == (408, "/problems/too-slow")


def test_a_body_that_nobody_reads_does_not_hold_the_connection(api: ServedApi):
    """Answered at once; the rest of the body is given up like any slow one."""
    unknown = raw("POST", RUNS, "Content-Length: 100") + b"{"
    assert status_of(api.send(unknown, *[b" "] * 12, pause=0.5)) == (401, "/problems/not-authenticated")


def test_a_slow_second_request_on_a_connection_is_given_up_too(api: ServedApi):
    answer = api.send(raw("GET", "/livez"), b"GET /livez HT")
    first, _, second = answer.partition(b'{"status":"alive"}')
    assert first.startswith(b"HTTP/1.1 200") and status_of(second) == (408, "/problems/too-slow")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nA b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nA: \x00\r\n\r\n", 400),
        (raw("POST", RUNS, "Content-Length: -1"), 400),
        (raw("POST", RUNS, "Content-Length: x"), 400),
        (raw("POST", RUNS, "Content-Length: 1", "Content-Length: 2"), 400),
        (raw("POST", RUNS, "Transfer-Encoding: gzip"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (raw("GET", "/livez", *(f"A{number}: {'b' * 1_000}" for number in range(40))), 431),
        (raw("GET", "/livez?" + "a" * 40_000), 431),
        (b"A" * 40_000, 431),
    ],
)
def test_what_is_no_request_is_a_problem_too(api: ServedApi, request_, status):
    assert status_of(api.send(request_))[0] == status


def test_a_request_smuggled_behind_another_is_not_believed(api: ServedApi):
    """Both lengths at once: a proxy before the server may believe the other one."""
    key = f"Authorization: Bearer {api.settings.operator_key_file.read_text().strip()}"
    body = b"0\r\n\r\n" + raw("POST", RUNS, key)
    before = tables(api)["runs"]
    answer = api.send(raw("POST", RUNS, key, "Content-Length: 4", "Transfer-Encoding: chunked", body=body))
    assert status_of(answer) == (400, "/problems/bad-request") and tables(api)["runs"] == before
