"""Who may do what in a real Superset: viewers ask what the charts ask, nobody reads beyond the published file, and no
question fills a disk or takes a worker down."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import psutil
import pytest
import requests

from lakehouse.services.child import Child
from lakehouse.settings import Settings
from tests.support.browser import browser_page, log_in, password
from tests.support.escapes import ESCAPES, MARKER
from tests.support.superset_session import session

pytestmark = pytest.mark.superset


def test_a_viewer_changes_nothing_and_has_no_sql_lab(settings: Settings) -> None:
    viewer, url = session(settings, "viewer"), settings.superset_url
    listed = viewer.get(f"{url}/api/v1/dashboard/", timeout=30).json()
    assert listed["count"] == 4
    first = listed["result"][0]["id"]
    attempts = [
        viewer.put(f"{url}/api/v1/dashboard/{first}", json={"dashboard_title": "x"}, timeout=30),
        viewer.delete(f"{url}/api/v1/dashboard/{first}", timeout=30),
        viewer.post(f"{url}/api/v1/chart/", json={"slice_name": "x"}, timeout=30),
        viewer.post(f"{url}/api/v1/sqllab/execute/", json={"database_id": 1, "sql": "SELECT 1"}, timeout=30),
        viewer.get(f"{url}/api/v1/database/1", timeout=30),
        viewer.get(f"{url}/api/v1/security/users/", timeout=30),
    ]
    assert [answer.status_code for answer in attempts] == [403] * len(attempts)


@pytest.fixture
def outside(tmp_path: Path) -> dict[str, Path]:
    """What attempts try to reach."""
    (tmp_path / "secret.txt").write_text(MARKER)
    (tmp_path / "secret.csv").write_text(MARKER)
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute("CREATE TABLE t AS SELECT ? AS secret", [MARKER])
    return {"secret": tmp_path / "secret.txt", "folder": tmp_path, "other": tmp_path / "other.duckdb"}


def test_even_the_administrator_gets_out_of_nothing(settings: Settings, outside: dict[str, Path]) -> None:
    admin, before = session(settings, "admin"), sorted(outside["folder"].iterdir())
    for number, attempt in enumerate(ESCAPES):
        answer = ask_sql_lab(settings, attempt.format(**outside), by=admin)
        assert MARKER not in answer.text, attempt
        assert answer.status_code not in (401, 404), f"{number} {attempt}: {answer.text}"
    assert sorted(outside["folder"].iterdir()) == before
    assert ask_sql_lab(settings, "SELECT count(*) AS n FROM gold.kpis_hourly", by=admin).json()["data"][0]["n"] > 0


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        ("SELECT * FROM read_text('/etc/hostname')", "read_text is not allowed here"),
        ("SELECT * FROM enable_logging()", "enable_logging is not allowed here"),
        ("SET enable_external_access = true", "This is read-only"),
        ("ATTACH '/tmp/x.duckdb' AS x", "This is read-only"),
        ("DROP TABLE gold.kpis_hourly", "does not allow for DDL/DML"),
    ],
)
def test_what_is_refused_is_told(settings: Settings, attempt: str, said: str) -> None:
    (error,) = ask_sql_lab(settings, attempt).json()["errors"]
    assert said in error["message"]


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT max(content) FROM read_text('{secret}'))",
        "max((SELECT secret FROM '{other}'))",
        "getenv('HOME')",
        "1) FROM read_text('{secret}') --",
        "lpad('', 2000000000, 'x')",
        "(SELECT count(*) FROM range(1000000000000))",
        "max(page_views) + 1",
    ],
)
def test_a_viewer_gets_nothing_by_sql_of_his_own(settings: Settings, outside: dict[str, Path], expression: str) -> None:
    viewer, url = session(settings, "viewer"), settings.superset_url
    chart = viewer.get(f"{url}/api/v1/chart/?q=(page_size:1)", timeout=30).json()["result"][0]
    metric = {"expressionType": "SQL", "label": "x", "sqlExpression": expression.format(**outside)}
    query = {"columns": [], "metrics": [metric], "row_limit": 10}
    question = {"datasource": {"id": chart["datasource_id"], "type": "table"}, "queries": [query]}
    answer = viewer.post(f"{url}/api/v1/chart/data", json=question, timeout=60)
    assert answer.status_code >= 400, answer.text
    assert MARKER not in answer.text and os.environ["HOME"] not in answer.text
    assert answer.status_code == 403 and "SQL of their own" in answer.text


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": ["lpad('', 2000000000, 'x')"]},
        {"columns": [{"expressionType": "SQL", "label": "x", "sqlExpression": "1 + 1"}]},
        {"extras": {"where": "1 = (SELECT count(*) FROM range(1000000000000))"}},
        {"extras": {"having": "count(*) > 1 + 1"}},
        {"orderby": [[{"expressionType": "SQL", "label": "x", "sqlExpression": "max(1 + 1)"}, True]]},
        {"metrics": [{"expressionType": "SQL", "label": "x", "sqlExpression": ["max(1 + 1)"]}]},
        {"post_processing": [{"operation": "histogram", "options": {"column": "count", "groupby": [], "bins": 10**8}}]},
        {
            "annotation_layers": [
                {
                    "name": "x",
                    "annotationType": "EVENT",
                    "sourceType": "line",
                    "value": 1,
                    "show": True,
                    "showMarkers": False,
                }
            ]
        },
        {"time_offsets": [f"{days} days ago" for days in range(1, 20)]},
    ],
)
def test_nor_by_any_other_part_of_a_question(settings: Settings, changed: dict[str, object]) -> None:
    viewer, url = session(settings, "viewer"), settings.superset_url
    chart = viewer.get(f"{url}/api/v1/chart/?q=(page_size:1)", timeout=30).json()["result"][0]
    query = {"columns": [], "metrics": ["count"], "row_limit": 10, **changed}
    question = {"datasource": {"id": chart["datasource_id"], "type": "table"}, "queries": [query]}
    answer = viewer.post(f"{url}/api/v1/chart/data", json=question, timeout=60)
    assert answer.status_code == 403, answer.text
    expression = {"expression": "1 = 1", "expression_type": "where"}
    checked = f"{url}/api/v1/datasource/table/{chart['datasource_id']}/validate_expression/"
    assert viewer.post(checked, json=expression, timeout=60).status_code in (403, 404)
    old = {"datasource": f"{chart['datasource_id']}__table", "viz_type": "table", "metrics": ["count"]}
    assert not viewer.post(f"{url}/superset/explore_json/", data={"form_data": json.dumps(old)}, timeout=60).ok


def test_what_is_asked_fills_no_disk(settings: Settings) -> None:
    """Charts ask every ten seconds, and a viewer may ask with as much as there is room for."""
    viewer, url = session(settings, "viewer"), settings.superset_url
    chart = viewer.get(f"{url}/api/v1/chart/?q=(page_size:1)", timeout=30).json()["result"][0]
    query = {"columns": [], "metrics": ["count"], "row_limit": 10}
    question = {"datasource": {"id": chart["datasource_id"], "type": "table"}, "queries": [query]}
    assert viewer.post(f"{url}/api/v1/chart/data", json=question, timeout=60).ok
    assert viewer.post(f"{url}/superset/log/", json={"events": "a" * 1000}, timeout=60).status_code == 200
    with closing(sqlite3.connect(settings.superset_home / "superset.sqlite3")) as records:
        assert records.execute("SELECT count(*) FROM logs").fetchone() == (0,)
    large = viewer.post(f"{url}/api/v1/chart/data", json={**question, "a": "a" * 2**20}, timeout=60)
    assert large.status_code == 413


def test_what_is_chosen_fills_no_disk(settings: Settings) -> None:
    """And nobody who is forgotten stays in it for long. Superset takes choices from browsers only, by their cookies."""
    viewer, url = session(settings, "viewer"), settings.superset_url
    board = viewer.get(f"{url}/api/v1/dashboard/", timeout=30).json()["result"][0]["id"]
    with browser_page() as page:
        log_in(page, url, password(settings, "viewer"))
        token = page.request.get(f"{url}/api/v1/security/csrf_token/").json()["result"]
        headers = {"X-CSRFToken": token, "Referer": url}
        for number in range(300):
            path = f"{url}/api/v1/dashboard/{board}/filter_state?tab_id={number}"
            answer = page.request.post(path, data={"value": json.dumps("u4711" * 1_000)}, headers=headers)
            assert answer.status == 201, answer.text()
    assert 0 < len([*(settings.superset_home / "choices").iterdir()]) < 300
    with closing(sqlite3.connect(settings.superset_home / "superset.sqlite3")) as records:
        kept = records.execute("SELECT count(*) FROM key_value WHERE resource = 'superset_metastore_cache'")
        assert kept.fetchone() == (0,)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("SELECT length(lpad('', 2000000000, 'x')) AS n", "Out of Memory"),
        ("SELECT count(*) AS n FROM range(1000000000000) AS a(x) WHERE x % 7 = 8", "more than 25 seconds"),
    ],
)
def test_no_question_takes_a_worker_down(
    settings: Settings, running: tuple[Settings, Child], question: str, said: str
) -> None:
    assert running[1].pid is not None
    workers = {child.pid for child in psutil.Process(running[1].pid).children()}
    assert said in ask_sql_lab(settings, question).text
    assert {child.pid for child in psutil.Process(running[1].pid).children()} == workers


def test_who_has_not_logged_in_sees_nothing(settings: Settings) -> None:
    url = settings.superset_url
    assert requests.get(f"{url}/superset/dashboard/shop-now/", timeout=30).url.startswith(f"{url}/login/")
    assert requests.get(f"{url}/api/v1/dashboard/", timeout=30).json().get("count", 0) == 0
    question = {"datasource": {"id": 1, "type": "table"}, "queries": [{"columns": [], "metrics": ["count"]}]}
    assert requests.post(f"{url}/api/v1/chart/data", json=question, timeout=30).status_code >= 400


def test_another_duckdb_is_the_published_file_too(settings: Settings) -> None:
    admin, url = session(settings, "admin"), f"{settings.superset_url}/api/v1/database/"
    given = {"database_name": "other", "sqlalchemy_uri": "duckdb:///:memory:", "expose_in_sqllab": True}
    made = admin.post(url, json=given, timeout=60)
    assert made.status_code == 201, made.text
    number = made.json()["id"]
    try:
        answer = ask_sql_lab(settings, "SELECT min(page_views) AS least FROM gold.kpis_hourly", number)
        assert answer.json()["data"] == [{"least": 30}]
        assert ask_sql_lab(settings, "SELECT * FROM '/etc/hostname'", number).status_code >= 400
    finally:
        assert admin.delete(f"{url}{number}", timeout=30).ok


def test_the_administrator_may_ask(settings: Settings) -> None:
    answer = ask_sql_lab(settings, "SELECT min(page_views) AS least FROM gold.kpis_hourly")
    assert answer.json()["data"] == [{"least": 30}]


def ask_sql_lab(
    settings: Settings, sql: str, database: int = 1, by: requests.Session | None = None
) -> requests.Response:
    asking = by or session(settings, "admin")
    given = {"database_id": database, "sql": sql, "runAsync": False, "client_id": os.urandom(5).hex()}
    return asking.post(f"{settings.superset_url}/api/v1/sqllab/execute/", json=given, timeout=60)


def test_guessing_passwords_is_limited_where_programs_log_in_too(settings: Settings) -> None:
    """The last one here: for a minute nobody else may log in there."""
    guess = {"username": "admin", "password": "guess", "provider": "db"}  # pragma: allowlist secret
    url = f"{settings.superset_url}/api/v1/security/login"
    found = {requests.post(url, json=guess, timeout=30).status_code for _ in range(25)}
    assert found == {401, 429}
