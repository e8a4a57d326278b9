"""Looks at dashboards as a viewer does: the distribution's Chromium, driven by Playwright."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from playwright.sync_api import APIResponse, ConsoleMessage, Page, Response, Route, TimeoutError, sync_playwright

from lakehouse.services import superset
from lakehouse.settings import Settings

SLUGS = ("shop-now", "fraud-desk", "retention", "pipeline-health")
OF_ANSWER = "Response"
"""All that the console says of an answer that was an error; answers are looked at by themselves."""
TELEMETRY = "https://apachesuperset.gateway.scarf.sh"
WIDTH, HEIGHT = 1400, 3000
"""High enough that every chart is in view, and so asks for its data."""


DRAWN = """
([charts, filled]) => {
    const places = [...document.querySelectorAll("[data-test=slice-container]")];
    const with_ = what => places.filter(place => place.querySelector(what) !== null).length;
    const figures = "canvas, tbody tr, .header-line";
    return places.length === charts && with_(figures) >= filled && with_(`${figures}, svg`) === charts;
}
"""
"""Whether every chart has something in its place: those with rows a drawing, rows or a figure; the others may have the
picture of an empty one."""


CHART_IDS = """
() => [...document.querySelectorAll("[class*=dashboard-chart-id-]")]
    .map(place => /dashboard-chart-id-(\\d+)/.exec(place.className)[1])
"""
SHOWN = """
() => [...document.querySelectorAll("[data-test=slice-container]")].map(place => place.textContent.slice(0, 80))
"""


@contextmanager
def browser_page(width: int = WIDTH, height: int = HEIGHT, **more: Any) -> Iterator[Page]:
    """A page whose console has no error in the end."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("Chromium is not on the PATH: install the distribution's (apt-get install chromium)", pytrace=False)
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, **more)
        errors: list[str] = []
        page.on("console", lambda said: errors.append(said.text) if _is_error(said) else None)
        page.on("pageerror", lambda error: errors.append(str(error)) if str(error) != OF_ANSWER else None)
        page.on("response", lambda got: errors.append(f"{got.status} {got.url}") if _is_refused(got) else None)
        try:
            yield page
        finally:
            browser.close()
        assert not errors, errors


def _is_error(said: ConsoleMessage) -> bool:
    """Whether the console tells of an error that no answer tells of already, and that is not Superset's counting of its
    users, a picture from elsewhere, which our policy rightly refuses."""
    is_of_answer = said.text == OF_ANSWER or said.text.startswith("Failed to load resource")
    return said.type == "error" and not is_of_answer and TELEMETRY not in said.text


def _is_refused(got: Response) -> bool:
    """Whether an answer is an error. Superset's pages try to save the colours that they have chosen, for viewers too:
    they must not, and their page shows nothing of it."""
    return got.status >= 400 and not (got.status == 403 and "/colors?" in got.url)


def password(settings: Settings, name: str) -> str:
    """What `shoplake superset login` shows."""
    return str(json.loads((settings.superset_home / "passwords.json").read_text())[name])


def log_in(page: Page, url: str, password: str, name: str = "viewer") -> None:
    """Log in by the form."""
    page.goto(f"{url}/login/")
    page.fill("[data-test=username-input]", name)
    page.fill("[data-test=password-input]", password)
    page.click("[data-test=login-button]")
    page.wait_for_url("**/welcome/", timeout=90_000)


def open_dashboard(page: Page, url: str, slug: str) -> list[APIResponse]:
    """Open a dashboard, and wait until every chart has its data and is drawn; the answers of the charts."""
    answers: dict[str, APIResponse] = {}

    def fetch(route: Route) -> None:
        # Noted on its way: the browser may have dropped a body by the time that it is asked for it.
        answer = route.fetch()
        if chart := re.search(r'"slice_id":(\d+)', unquote(route.request.url)):
            answers[chart[1]] = answer
        route.fulfill(response=answer)

    page.route("**/api/v1/chart/data**", fetch)
    page.goto(f"{url}/superset/dashboard/{slug}/")
    charts, deadline = len(charts_of(slug)), time.monotonic() + 90
    # Another dashboard that was open before may still ask: only charts that are on this one count.
    while len(here := set(page.evaluate(CHART_IDS))) < charts or not here <= answers.keys():
        page.mouse.wheel(0, 300)  # charts ask for data when they come into view
        page.wait_for_timeout(200)
        assert time.monotonic() < deadline, f"{slug}: {len(here & answers.keys())} of {charts} charts asked for data"
    page.wait_for_selector(".loading", state="detached", timeout=60_000)
    found = [answers[chart] for chart in here]
    for answer in found:
        assert answer.status == 200, answer.text()
    filled = sum(rows_of(answer) > 0 for answer in found)
    try:
        page.wait_for_function(DRAWN, arg=[charts, filled], timeout=60_000)
    except TimeoutError as error:
        error.add_note(f"{slug}, {filled} of {charts} charts have rows: {page.evaluate(SHOWN)}")
        raise
    assert page.locator("[data-test=slice-container] [role=alert]").count() == 0
    assert page.locator("[data-test=toast-container]").count() == 0
    page.unroute_all(behavior="wait")
    return found


def rows_of(answer: APIResponse) -> int:
    """How many rows a chart got."""
    return int(answer.json()["result"][0]["rowcount"])


def empty_charts(page: Page, url: str, slug: str) -> int:
    """Open a dashboard; how many of its charts have no row, and say so in words."""
    empty = sum(rows_of(answer) == 0 for answer in open_dashboard(page, url, slug))
    assert page.get_by_text("No results").count() + page.get_by_text("No data").count() >= min(empty, 1)
    return empty


def charts_of(slug: str) -> list[str]:
    """UUIDs of the charts of a dashboard, as its file says."""
    for path in (superset.FOLDER / "dashboards").glob("*.yaml"):
        dashboard = yaml.safe_load(path.read_text(encoding="utf-8"))
        if dashboard["slug"] == slug:
            items = dashboard["position"].values()
            return [one["meta"]["uuid"] for one in items if isinstance(one, dict) and one["type"] == "CHART"]
    raise AssertionError(slug)
