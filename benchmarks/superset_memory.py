"""Superset's memory while its dashboards refresh: every chart's question again and again, over a file that is published
anew meanwhile.

`python -m benchmarks.superset_memory` measures an hour; needs `make superset`.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from benchmarks.dashboards import columns_and_metrics, read_assets
from benchmarks.figures import RESULTS, Figure, write_figures
from benchmarks.gold_api import make_file
from lakehouse import processes
from lakehouse.services import superset
from lakehouse.services.child import Child
from lakehouse.services.testing import free_settings, part
from lakehouse.settings import Settings

FILE = RESULTS / "superset_memory.json"
REFRESH_SECONDS = 10
"""As often as *Shop now* and *Pipeline health* refresh."""
PUBLISH_SECONDS = 60
TOKEN_SECONDS = 600
"""Superset's tokens are good for a quarter of an hour."""


def main(minutes: Annotated[float, typer.Option(help="Minutes of refreshing.")] = 60.0) -> None:
    """Measure, print, and write the figures into benchmarks/results/superset_memory.json."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="shoplake-superset-") as folder, console.status("Starting Superset") as now:
        settings = free_settings(Path(folder))
        make_file(settings.serving_file, 1)
        with part(superset.service(settings), settings) as child:
            viewer = _Viewer(settings)
            viewer.refresh()
            first = processes.memory_mb(child.pid or 0)
            now.update(f"Refreshing every chart for {minutes:,.0f} minutes")
            took, largest = _watch(settings, child, viewer, minutes)
            last = processes.memory_mb(child.pid or 0)
    figures = [
        Figure("Superset after the first refresh", first, "MB"),
        Figure(f"Superset after {minutes:,.0f} minutes", last, "MB", "1,024"),
        Figure("Superset at most", largest, "MB", "1,024"),
        Figure("refreshes of all charts", len(took), "", ""),
        Figure("a chart's answer, median", statistics.median(took) * 1000, "ms"),
    ]
    for figure in figures:
        console.print(f"{figure.name:<40} {figure.value:>10,.0f} {figure.unit:<4} {figure.target}", highlight=False)
    write_figures(FILE, "python -m benchmarks.superset_memory", figures)


def _watch(settings: Settings, child: Child, viewer: _Viewer, minutes: float) -> tuple[list[float], float]:
    """Seconds of an answer, by refresh, and the largest memory seen, in MB."""
    took: list[float] = []
    largest, end, published = 0.0, time.monotonic() + minutes * 60, time.monotonic()
    while (began := time.monotonic()) < end:
        if began - published >= PUBLISH_SECONDS:
            _publish_anew(settings.serving_file)
            published = began
        took.append(viewer.refresh())
        largest = max(largest, processes.memory_mb(child.pid or 0))
        time.sleep(max(0.0, REFRESH_SECONDS - (time.monotonic() - began)))
    return took, largest


def _publish_anew(file: Path) -> None:
    """Another file takes the place, as with a publish."""
    aside = file.with_suffix(".aside")
    shutil.copyfile(file, aside)
    aside.replace(file)


class _Viewer:
    """Asks what the dashboards ask, past Superset's cache."""

    def __init__(self, settings: Settings) -> None:
        self._password = json.loads((settings.superset_home / "passwords.json").read_text())["viewer"]
        self._http = httpx.Client(base_url=settings.superset_url, timeout=60)
        self._log_in()
        listed = self._http.get("/api/v1/chart/", params={"q": "(page_size:100)"}).raise_for_status().json()["result"]
        ids = {one["slice_name"]: one["datasource_id"] for one in listed}
        self._questions = [_question(chart, ids[chart["slice_name"]]) for chart in read_assets("charts")]

    def refresh(self) -> float:
        """Seconds of an answer, as the mean over all charts. Raises HTTPStatusError for a chart without an answer."""
        if time.monotonic() - self._logged_in > TOKEN_SECONDS:
            self._log_in()
        began = time.perf_counter()
        for question in self._questions:
            self._http.post("/api/v1/chart/data", json=question).raise_for_status()
        return (time.perf_counter() - began) / len(self._questions)

    def _log_in(self) -> None:
        given = {"username": "viewer", "password": self._password, "provider": "db", "refresh": False}
        token = self._http.post("/api/v1/security/login", json=given).raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._logged_in = time.monotonic()


def _question(chart: dict[str, Any], dataset: int) -> dict[str, Any]:
    columns, metrics = columns_and_metrics(chart)
    query = {"columns": columns, "metrics": metrics or None, "row_limit": chart["params"].get("row_limit", 1000)}
    return {"datasource": {"id": dataset, "type": "table"}, "force": True, "queries": [query]}


if __name__ == "__main__":
    typer.run(main)
