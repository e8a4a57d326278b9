"""What Superset asks for the dashboards' charts, and how long the serving file takes to answer, with more history.

`python -m benchmarks.dashboards` measures it alone. Each question opens the file anew, as Superset does.
"""

import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figures import Figure, percentile, report
from benchmarks.gold_api import DAYS, HISTORIES, make_file
from lakehouse.serving.file import open_serving

FOLDER = Path(__file__).parents[1] / "superset"
ROUNDS = 10
GRAINS = {"PT1M": "minute", "PT1H": "hour", "P1D": "day"}
ROW_LIMIT = 5_000
"""Superset's own, where a chart has none."""


def read_assets(kind: str) -> list[dict[str, Any]]:
    """What the YAML files of a kind (databases, datasets, charts, dashboards) say."""
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / kind).glob("*.yaml"))]


def columns_and_metrics(chart: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any] | str]]:
    """What a chart asks its dataset for, whatever its kind calls it; some metrics are names of the dataset's."""
    params = chart["params"]
    groupby = params.get("groupby") or []
    columns = [*(params.get("all_columns") or []), *([groupby] if isinstance(groupby, str) else groupby)]
    columns += [params["x_axis"]] if params.get("x_axis") else []
    return columns, [*(params.get("metrics") or []), *([params["metric"]] if params.get("metric") else [])]


@cache
def default_ranges() -> dict[str, str]:
    """How far back a chart looks when its dashboard is opened, as an interval, by the chart's UUID."""
    found = {}
    for dashboard in read_assets("dashboards"):
        filters = dashboard["metadata"]["native_filter_configuration"]
        ranges = [
            one["defaultDataMask"]["filterState"]["value"] for one in filters if one["filterType"] == "filter_time"
        ]
        items = [item for item in dashboard["position"].values() if isinstance(item, dict) and item["type"] == "CHART"]
        for item in items if ranges else []:
            found[item["meta"]["uuid"]] = ranges[0].replace("Last", "1")
    return found


def chart_query(chart: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    """A chart's own columns, metrics, grain, conditions, order and limit over its dataset, as Superset puts them
    together when a dashboard is opened."""
    params, (columns, metrics) = chart["params"], columns_and_metrics(chart)
    grain = GRAINS.get(params.get("time_grain_sqla") or "")
    selected = [_grained(name, grain if name == params.get("x_axis") else None) for name in columns]
    known = {metric["metric_name"]: metric["expression"] for metric in dataset["metrics"]}
    selected += [known[metric] if isinstance(metric, str) else metric["sqlExpression"] for metric in metrics]
    clauses = [
        (one["clause"], one["sqlExpression"]) for one in params["adhoc_filters"] if one["expressionType"] == "SQL"
    ]
    conditions, having = ([sql for of, sql in clauses if of == clause] for clause in ("WHERE", "HAVING"))
    times = [one["subject"] for one in params["adhoc_filters"] if one.get("operator") == "TEMPORAL_RANGE"]
    if since := default_ranges().get(chart["uuid"]):
        conditions += [f"\"{name}\" >= now()::TIMESTAMP - INTERVAL '{since}'" for name in times]
    where = f"{' AND '.join(conditions) or 'true'} GROUP BY ALL{' HAVING ' if having else ''}{' AND '.join(having)}"
    order = "ORDER BY ALL" if columns else ""
    limit = f"LIMIT {params.get('row_limit') or ROW_LIMIT}"
    return f"SELECT {', '.join(selected)} FROM ({dataset['sql']}) WHERE {where} {order} {limit}"  # noqa: S608 - all of it is declared in this project


def _grained(column: str, grain: str | None) -> str:
    return f"date_trunc('{grain}', \"{column}\")" if grain else f'"{column}"'


def chart_queries() -> dict[str, str]:
    """The question of every chart, by the chart's name."""
    datasets = {dataset["uuid"]: dataset for dataset in read_assets("datasets")}
    return {chart["slice_name"]: chart_query(chart, datasets[chart["dataset_uuid"]]) for chart in read_assets("charts")}


def measure(times: int) -> dict[str, list[float]]:
    """Milliseconds of each chart's question, over DAYS of gold that many times."""
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="shoplake-bench-") as folder:
        path = Path(folder) / "serving" / "serving.duckdb"
        make_file(path, times)
        for _ in range(ROUNDS):
            for name, query in chart_queries().items():
                began = time.perf_counter()
                with open_serving(path) as connection:
                    connection.execute(query).fetchall()
                took.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    return took


def main() -> None:
    """Measure, print, and write the figures into benchmarks/results/dashboards.json."""
    figures: list[Figure] = []
    for times in HISTORIES:
        took = measure(times)
        every, history = [one for each in took.values() for one in each], f"{times} x {DAYS} days"
        medians = {name: percentile(each, 0.5) for name, each in took.items()}
        slowest = max(medians, key=lambda name: medians[name])
        figures += [
            Figure(f"{history}: p50 of a chart's question", percentile(every, 0.5), "ms"),
            Figure(f"{history}: p95 of a chart's question", percentile(every, 0.95), "ms", "150"),
            Figure(f"{history}: the slowest, {slowest}", medians[slowest], "ms"),
        ]
    report("dashboards", "python -m benchmarks.dashboards", figures)


if __name__ == "__main__":
    main()
