"""What a viewer of the dashboards may ask: what the charts ask, with other filters and columns, and no SQL besides."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
import yaml

from lakehouse.services import superset

foreign_sql = runpy.run_path(str(superset.FOLDER / "viewers.py"))["foreign_sql"]
CHARTS = [yaml.safe_load(path.read_text())["params"] for path in sorted((superset.FOLDER / "charts").glob("*.yaml"))]
COLUMNS = {"hour_start", "revenue", "purchases"}
SUM = {"expressionType": "SQL", "sqlExpression": "sum(revenue)", "label": "revenue"}
LAST_DAY = "(hour_start > (now() AT TIME ZONE 'UTC') - INTERVAL 24 HOUR)"
EVIL = "lpad('', 2000000000, 'x')"


@pytest.mark.parametrize(
    "question",
    [
        {"metrics": [SUM], "columns": ["hour_start"], "orderby": [[SUM, False]], "extras": {"where": LAST_DAY}},
        {"columns": [{"expressionType": "SQL", "sqlExpression": "hour_start", "columnType": "BASE_AXIS"}]},
        {"metrics": ["count"], "filter": [{"col": "hour_start", "op": "==", "val": EVIL}], "extras": {"where": ""}},
        {"metrics": [{"expressionType": "SIMPLE", "column": {"column_name": "revenue"}, "aggregate": "SUM"}]},
    ],
)
def test_what_charts_ask_passes(question: dict[str, Any]) -> None:
    assert foreign_sql(question, CHARTS, COLUMNS) is None


@pytest.mark.parametrize(
    "question",
    [
        {"metrics": [{**SUM, "sqlExpression": EVIL}]},
        {"columns": [{"expressionType": "SQL", "sqlExpression": EVIL}]},
        {"columns": [EVIL]},
        {"orderby": [[{"expressionType": "SQL", "sqlExpression": EVIL}, True]]},
        {"filter": [{"col": {"sqlExpression": EVIL}, "op": "==", "val": 1}]},
        {"series_limit_metric": {**SUM, "sqlExpression": EVIL}},
        {"metrics": [SUM], "extras": {"where": f"({EVIL} = 'x')"}},
        {"metrics": [SUM], "extras": {"having": EVIL}},
        {"metrics": [SUM], "extras": {"where": f"{LAST_DAY} OR {EVIL} = 'x'"}},
    ],
)
def test_sql_of_ones_own_is_found_wherever_it_stands(question: dict[str, Any]) -> None:
    assert EVIL in str(foreign_sql(question, CHARTS, COLUMNS))


def test_a_column_of_another_dataset_is_no_column() -> None:
    assert foreign_sql({"columns": ["secret"]}, [], COLUMNS) == "secret"
