"""A real Superset over a published file: what viewers see, and the dashboards as code."""

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Locator, Page, expect

from lakehouse import processes
from lakehouse.services import superset
from lakehouse.services.child import Child
from lakehouse.services.service import child_environment
from lakehouse.settings import Settings
from tests.support.browser import SLUGS, browser_page, log_in, open_dashboard, password, rows_of
from tests.support.superset_session import session

pytestmark = pytest.mark.superset
expect.set_options(timeout=60_000)


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
