"""Takes the pictures of docs/images from a platform with two months of history and live traffic.

`make screenshots`, or `python -m tests.dashboards.screenshots [FOLDER]`; needs Superset (`make superset`) and Chromium.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from lakehouse.api_client import ApiClient
from lakehouse.cli.platform import StartReporter
from lakehouse.cli.runs import follow
from lakehouse.services import superset
from lakehouse.services.detached import start_detached, stop
from lakehouse.services.state import status
from lakehouse.settings import Settings
from producer.publish import publish
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.browser import SLUGS, browser_page, log_in, open_dashboard
from tests.support.platform import free_settings
from tests.support.shop import Shop

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTHS = {"": 1400, "-wide": 1920, "-phone": 390}
DAY_MS = 86_400_000
LIVE_SECONDS = 60
"""Live traffic before the first picture, so that every chart of the last hour has something to show."""
FEWER_COLOURS = "import sys; from PIL import Image as i; i.open(p := sys.argv[1]).quantize().save(p, optimize=True)"
JOBS = ("cohort_retention", "quality", "reconcile")


def main(folder: Path) -> None:
    """Start, fill, take the pictures, end."""
    with tempfile.TemporaryDirectory(prefix="shoplake-pictures-") as lake, running(Path(lake)) as settings:
        shop = Shop(settings, Path(lake))
        publish(simulate(options(history_ms=60 * DAY_MS, history_events=30_000)), settings)
        shop.wait_until_read(600)
        with live_traffic(settings):
            time.sleep(LIVE_SECONDS)
            with ApiClient(settings) as client:
                for job in JOBS:
                    run = follow(client, client.start(job, {})["id"])
                    if run["state"] != "succeeded":
                        raise SystemExit(f"{job} {run['state']}: {run['error']}")
            take(settings, folder)


@contextmanager
def running(folder: Path) -> Iterator[Settings]:
    """A platform with Superset."""
    settings = free_settings(folder)
    try:
        start_detached(settings, StartReporter(), with_superset=True)
        if status(settings)["superset"]["state"] != "up":
            raise SystemExit(status(settings)["superset"]["message"])
        yield settings
    finally:
        stop(settings)


def options(**more: object) -> SimulationOptions:
    """A shop with more fraud and more faults than most have."""
    return SimulationOptions(now_ms=int(time.time() * 1000), fraud=0.05, malformed=0.01, duplicates=0.02, **more)  # type: ignore[arg-type]


@contextmanager
def live_traffic(settings: Settings) -> Iterator[None]:
    """Live events, until the end."""
    end, live = threading.Event(), options(live=True, rate=40.0, seed=5)
    keywords = {"live_from": live.now_ms / 1000, "stop": end}
    sender = threading.Thread(target=publish, args=(simulate(live), settings), kwargs=keywords)
    sender.start()
    try:
        yield
    finally:
        end.set()
        sender.join()


def take(settings: Settings, folder: Path) -> None:
    """A picture of every dashboard in every width."""
    passwords = json.loads((settings.superset_home / "passwords.json").read_text())
    for suffix, width in WIDTHS.items():
        with browser_page(width, 6000 if suffix == "-phone" else 3000) as page:
            log_in(page, settings.superset_url, passwords["viewer"])
            for slug in SLUGS:
                open_dashboard(page, settings.superset_url, slug)
                page.mouse.wheel(0, -10_000)
                page.wait_for_timeout(3_000)  # charts move when they are drawn
                path = folder / f"{slug}{suffix}.png"
                page.screenshot(path=path, clip={"x": 0, "y": 0, "width": width, "height": bottom(page) + 24})
                # Superset has Pillow: 256 colours are a third of the bytes.
                subprocess.run([superset.PYTHON, "-c", FEWER_COLOURS, path], check=True)
                print(path)


def bottom(page: Page) -> float:
    """Where the last row of charts ends."""
    rows = "[...document.querySelectorAll('.grid-row')].map(row => row.getBoundingClientRect().bottom)"
    return float(page.evaluate(f"Math.max(...{rows})"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
