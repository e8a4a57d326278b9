"""What a viewer of the dashboards may ask: what the charts ask, with other filters and columns, and no SQL besides."""

import runpy
from typing import Any

import pytest
import yaml

from lakehouse.services import superset

viewers = runpy.run_path(str(superset.FOLDER / "viewers.py"))
foreign_sql, foreign_work = viewers["foreign_sql"], viewers["foreign_work"]
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
        {"metrics": [{**SUM, "sqlExpression": [EVIL]}]},
        {"annotation_layers": [{"value": 1, "overrides": {"metrics": [{**SUM, "sqlExpression": EVIL}]}}]},
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


CHART = {
    "x_axis": "hour_start",
    "groupby": ["rule", {"label": "how bad", "sqlExpression": "upper(severity)", "expressionType": "SQL"}],
    "annotation_layers": [{"sourceType": "line", "value": 7, "overrides": {"time_range": None}}],
    "resample_rule": "1D",
}
PIVOT = {"index": ["hour_start"], "columns": ["how bad", "rule"], "aggregates": {"revenue": {"operator": "mean"}}}


def then(operation: str, **options: Any) -> dict[str, Any]:
    return {"post_processing": [{"operation": "flatten"}, {"operation": operation, "options": options}]}


@pytest.mark.parametrize(
    "question",
    [
        then("pivot", **PIVOT),
        then("resample", rule="1D", method="ffill"),
        then("rename", columns={"revenue": None}),
        then("contribution", orientation="row"),
        {"annotation_layers": [{"sourceType": "line", "value": 7, "overrides": {"time_range": "Last week"}}]},
        {"columns": ["hour_start"] * 10},
        {"filter": [{"col": "rule", "op": "ILIKE", "val": "%card_testing%"}]},  # who types into a dashboard's filter
        {"filter": [{"col": "rule", "op": "IN", "val": ["50 % off, 20 % more"]}]},
    ],
)
def test_what_charts_do_behind_the_sql_passes(question: dict[str, Any]) -> None:
    assert foreign_work(question, [{}, CHART]) is None


@pytest.mark.parametrize(
    "question",
    [
        then("histogram", column="revenue", groupby=[], bins=10**8),
        then("resample", rule="1ms", method="ffill"),
        then("pivot", **{**PIVOT, "columns": ["flag_id"]}),
        then("pivot", **{**PIVOT, "index": ["flag_id"]}),
        then("select", columns=["revenue"] * 100_000),
        then("aggregate", groupby=["flag_id"], aggregates={}),
        then("prophet", periods=10**9),
        {"annotation_layers": [{"sourceType": "line", "value": 8, "overrides": {"time_range": None}}]},
        {"annotation_layers": [{"sourceType": "line", "value": 7, "overrides": {"where": EVIL}}]},
        {"metrics": [{**SUM, "label": f"x{number}"} for number in range(10_000)]},
        *({"filter": [{"col": "rule", "op": op, "val": "%a_" * 14}]} for op in ("LIKE", "NOT LIKE", "ILIKE")),
    ],
)
def test_nobody_makes_much_of_little(question: dict[str, Any]) -> None:
    """Superset would end with all who look at it: its memory has a limit."""
    assert foreign_work(question, [{}, CHART]) is not None
