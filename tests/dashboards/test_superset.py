"""A real Superset over a published file: what viewers see and cannot do, and the dashboards as code."""

import functools
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import duckdb
import psutil
import pytest
import requests
import yaml
from playwright.sync_api import Locator, Page, expect

from lakehouse import processes
from lakehouse.services import superset
from lakehouse.services.child import Child
from lakehouse.services.service import child_environment
from lakehouse.settings import Settings
from tests.support.browser import SLUGS, browser_page, log_in, open_dashboard, password, rows_of
from tests.support.escapes import ESCAPES, MARKER

pytestmark = pytest.mark.superset
expect.set_options(timeout=60_000)


def session(settings: Settings, name: str) -> requests.Session:
    """Logged in over the API, which few may do in a minute; a token is valid for a quarter of an hour."""
    return logged_in(settings.superset_url, name, password(settings, name), int(time.monotonic()) // 600)


@functools.cache
def logged_in(url: str, name: str, password: str, _while: int) -> requests.Session:
    made = requests.Session()
    made.headers["Referer"] = url
    given = {"username": name, "password": password, "provider": "db", "refresh": False}
    token = made.post(f"{url}/api/v1/security/login", json=given, timeout=30).json()["access_token"]
    made.headers["Authorization"] = f"Bearer {token}"
    csrf = made.get(f"{url}/api/v1/security/csrf_token/", timeout=30)
    made.headers["X-CSRFToken"] = csrf.json().get("result", "")
    return made


def test_secrets_are_for_this_user_alone(settings: Settings) -> None:
    for name in ("secret.key", "passwords.json"):
        assert (settings.superset_home / name).stat().st_mode & 0o777 == 0o600


def test_it_stays_under_a_gigabyte(running: tuple[Settings, Child]) -> None:
    assert running[1].pid is not None
    assert 0 < processes.memory_mb(running[1].pid) < 1024


def test_a_viewer_sees_every_chart_with_rows(settings: Settings) -> None:
    with browser_page() as page:
        log_in(page, settings.superset_url, password(settings, "viewer"))
        for slug in SLUGS:
            for answer in open_dashboard(page, settings.superset_url, slug):
                assert rows_of(answer) > 0, answer.text()


def test_a_click_and_a_filter_narrow_every_chart(settings: Settings) -> None:
    with browser_page() as page:
        log_in(page, settings.superset_url, password(settings, "viewer"))
        open_dashboard(page, settings.superset_url, "fraud-desk")
        figures = page.locator(".header-line")  # flags, those of high severity, users
        expect(figures).to_have_text(["3", "2", "2"])
        chart(page, "Users with most flags").locator("td", has_text="u2").click()
        expect(figures).to_have_text(["1", "0", "1"])
        expect(chart(page, "Newest flags").locator("tbody tr")).to_have_count(1)
        expect(chart(page, "Timeline: the events")).to_contain_text("No results")
        open_dashboard(page, settings.superset_url, "fraud-desk")
        expect(figures).to_have_text(["3", "2", "2"])
        page.get_by_role("combobox", name="Severity").click()
        page.get_by_title("low", exact=True).last.click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Apply").click()
        expect(figures).to_have_text(["1", "0", "1"])


def chart(page: Page, title: str) -> Locator:
    return page.locator("[data-test=dashboard-component-chart-holder]").filter(has_text=title)


def test_the_welcome_page_names_the_dashboards_in_a_sentence_each(settings: Settings) -> None:
    boards = [yaml.safe_load(path.read_text()) for path in (superset.FOLDER / "dashboards").glob("*.yaml")]
    with browser_page() as page:
        log_in(page, settings.superset_url, password(settings, "viewer"))
        for board in boards:
            entry = page.get_by_role("listitem").filter(has_text=board["description"])
            expect(entry.get_by_role("link", name=board["dashboard_title"])).to_be_visible()
        expect(page.get_by_role("link")).to_have_count(len(boards) + 1)  # and the way out
        page.get_by_role("link", name="Shop now").click()
        page.wait_for_url("**/superset/dashboard/shop-now/")
    with browser_page() as page:
        log_in(page, settings.superset_url, password(settings, "admin"), "admin")
        expect(page.get_by_role("link", name="Change dashboards, ask with SQL")).to_be_visible()


def test_what_a_definition_means_is_told_on_hover(settings: Settings) -> None:
    with browser_page() as page:
        log_in(page, settings.superset_url, password(settings, "viewer"))
        open_dashboard(page, settings.superset_url, "retention")
        page.mouse.wheel(0, -10_000)
        page.locator("[data-test=filter-bar] [aria-label=info-circle]").nth(1).hover()
        told = page.get_by_role("tooltip").filter(has_text="n_day: active in exactly that period.")
        expect(told).to_contain_text("unbounded: active in that period or any later one")


def test_a_viewer_is_offered_nothing_that_is_refused(settings: Settings) -> None:
    """The page's console has no error in the end: what is tried here is allowed."""
    with browser_page() as page:
        log_in(page, settings.superset_url, password(settings, "viewer"))
        open_dashboard(page, settings.superset_url, "fraud-desk")
        page.mouse.wheel(0, -10_000)
        page.locator("[data-test=fave-unfave-icon]").click()
        assert offered(page, page.locator("[data-test=actions-trigger]")) == {
            "Refresh dashboard", "Update auto-refresh", "Enter fullscreen", "Download",
            "Export to PDF", "Download as Image",
        }  # fmt: skip
        for title in ("Newest flags", "Flags by rule", "Users flagged"):
            menu = offered(page, chart(page, title).first.get_by_label("More Options"))
            assert menu <= {"Force refresh", "Enter fullscreen", "Show chart description"}, title
        page.get_by_text("Settings").first.hover()
        expect(page.get_by_role("menuitem", name="Logout")).to_be_visible()
        expect(page.get_by_role("menuitem", name="Info")).to_have_count(0)


def offered(page: Page, button: Locator) -> set[str]:
    """What the menu of a button offers, with what is in the menus of its menu."""
    button.click()
    items = page.locator(".ant-dropdown-menu [role=menuitem]:visible")
    expect(items.first).to_be_visible()
    for within in page.locator(".ant-dropdown-menu-submenu-title:visible").all():
        within.hover()
        expect(page.locator(".ant-dropdown-menu-submenu-popup [role=menuitem]:visible").first).to_be_visible()
    found = {text.split("\n")[0] for text in items.all_inner_texts()}
    page.keyboard.press("Escape")
    page.mouse.move(0, 600)
    expect(items).to_have_count(0)
    return found


def test_on_a_phone_charts_stand_below_each_other(settings: Settings) -> None:
    with browser_page(390, 6000) as page:
        log_in(page, settings.superset_url, password(settings, "viewer"))
        open_dashboard(page, settings.superset_url, "shop-now")
        places = [one.bounding_box() for one in page.locator("[data-test=dashboard-component-chart-holder]").all()]
        boxes = sorted((box for box in places if box), key=lambda box: box["y"])
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes), boxes
        boxes = [box for box in boxes if box["width"] > 200]  # single figures stand in pairs
        assert len(boxes) > 4
        assert all(above["y"] + above["height"] <= below["y"] + 1 for above, below in itertools.pairwise(boxes)), boxes


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
        {"annotation_layers": [{"name": "x", "annotationType": "EVENT", "sourceType": "line", "value": 1}]},
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
    """And nobody who is forgotten stays in it for long."""
    viewer, url = session(settings, "viewer"), settings.superset_url
    board = viewer.get(f"{url}/api/v1/dashboard/", timeout=30).json()["result"][0]["id"]
    chosen = {"value": json.dumps("u4711" * 1_000)}
    for _ in range(300):
        assert viewer.post(f"{url}/api/v1/dashboard/{board}/filter_state", json=chosen, timeout=30).status_code == 201
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


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A copy of the dashboards' files, to change."""
    for kind in ("databases", "datasets", "charts", "dashboards"):
        shutil.copytree(superset.FOLDER / kind, tmp_path / kind)
    return tmp_path


def do(settings: Settings, assets: Path, word: str) -> None:
    """Import or export these files."""
    env = {**child_environment(settings), **superset.environment(settings), "SHOPLAKE_SUPERSET_ASSETS": str(assets)}
    command = [str(superset.PYTHON), str(superset.FOLDER / "serve.py"), word]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.yaml"))}


def test_importing_again_and_exporting_changes_nothing(settings: Settings, assets: Path) -> None:
    before = texts(assets)
    do(settings, assets, "import")
    do(settings, assets, "export")
    assert texts(assets) == before


def test_a_chart_that_is_removed_here_disappears_there(settings: Settings, assets: Path) -> None:
    path = assets / "charts" / "how_long_a_batch_takes.yaml"
    chart = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.unlink()
    board = assets / "dashboards" / "pipeline_health.yaml"
    dashboard = yaml.safe_load(board.read_text(encoding="utf-8"))
    position = dashboard["position"]
    (gone,) = [
        key
        for key, one in position.items()
        if isinstance(one, dict) and one.get("meta", {}).get("uuid") == chart["uuid"]
    ]
    del position[gone]
    for one in position.values():
        if isinstance(one, dict) and gone in one.get("children", []):
            one["children"].remove(gone)
    board.write_text(yaml.safe_dump(dashboard), encoding="utf-8")
    names = chart_names(settings)
    assert chart["slice_name"] in names
    do(settings, assets, "import")
    assert chart_names(settings) == names - {chart["slice_name"]}
    do(settings, superset.FOLDER, "import")
    assert chart_names(settings) == names


def chart_names(settings: Settings) -> set[str]:
    answer = session(settings, "viewer").get(f"{settings.superset_url}/api/v1/chart/?q=(page_size:100)", timeout=30)
    return {chart["slice_name"] for chart in answer.json()["result"]}


def test_guessing_passwords_is_limited_where_programs_log_in_too(settings: Settings) -> None:
    """The last one here: for a minute nobody else may log in there."""
    guess = {"username": "admin", "password": "guess", "provider": "db"}  # pragma: allowlist secret
    url = f"{settings.superset_url}/api/v1/security/login"
    found = {requests.post(url, json=guess, timeout=30).status_code for _ in range(25)}
    assert found == {401, 429}
