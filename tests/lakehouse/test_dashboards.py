"""The dashboards' YAML: references hold, every dataset answers with rows, the database is opened locked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from lakehouse.serving_file import LOCKED, open_serving
from tests.support.sample_serving import fill
from tests.support.serving_lake import Lake

FOLDER = Path(__file__).parents[2] / "superset"
KINDS = ("databases", "datasets", "charts", "dashboards")
FILES: dict[str, list[dict[str, Any]]] = {
    kind: [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / kind).glob("*.yaml"))]
    for kind in KINDS
}
UUIDS = {kind: [item["uuid"] for item in FILES[kind]] for kind in KINDS}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.publisher.publish()
    fill(lake.settings.serving_file)
    with open_serving(lake.settings.serving_file) as connection:
        yield connection
    lake.close()


def charts_of(dashboard: dict[str, Any]) -> list[str]:
    items = dashboard["position"].values()
    return [item["meta"]["uuid"] for item in items if isinstance(item, dict) and item["type"] == "CHART"]


def test_there_are_four_dashboards() -> None:
    slugs = {dashboard["slug"] for dashboard in FILES["dashboards"]}
    assert slugs == {"shop-now", "fraud-desk", "retention", "pipeline-health"}


def test_uuids_are_unique_and_references_hold() -> None:
    every = [uuid for kind in KINDS for uuid in UUIDS[kind]]
    assert len(set(every)) == len(every)
    assert {item["database_uuid"] for item in FILES["datasets"]} == set(UUIDS["databases"])
    assert {item["dataset_uuid"] for item in FILES["charts"]} == set(UUIDS["datasets"])
    assert {uuid for dashboard in FILES["dashboards"] for uuid in charts_of(dashboard)} == set(UUIDS["charts"])
    for dashboard in FILES["dashboards"]:
        for one in dashboard["metadata"]["native_filter_configuration"]:
            assert {target.get("datasetUuid") for target in one["targets"]} <= {None, *UUIDS["datasets"]}


def test_the_database_is_opened_read_only_and_locked() -> None:
    (database,) = FILES["databases"]
    assert database["sqlalchemy_uri"] == "duckdb:///SERVING_FILE"
    arguments = database["extra"]["engine_params"]["connect_args"]
    assert arguments == {"read_only": True, "config": {**LOCKED, "lock_configuration": "true"}}
    assert not database["allow_dml"]


@pytest.mark.parametrize("dataset", FILES["datasets"], ids=lambda item: str(item["table_name"]))
def test_every_dataset_answers_with_the_columns_it_states(
    serving: duckdb.DuckDBPyConnection, dataset: dict[str, Any]
) -> None:
    cursor = serving.execute(dataset["sql"])
    names = [column[0] for column in cursor.description or []]
    assert sorted(names) == sorted(column["column_name"] for column in dataset["columns"])
    assert cursor.fetchall()


@pytest.mark.parametrize("chart", FILES["charts"], ids=lambda item: str(item["slice_name"]))
def test_every_chart_answers_with_rows(serving: duckdb.DuckDBPyConnection, chart: dict[str, Any]) -> None:
    """The chart's own columns, metrics and conditions over its dataset, as Superset puts them together."""
    dataset = next(item for item in FILES["datasets"] if item["uuid"] == chart["dataset_uuid"])
    params = chart["params"]
    groupby = params.get("groupby") or []
    columns = [*(params.get("all_columns") or []), *([groupby] if isinstance(groupby, str) else groupby)]
    columns += [params["x_axis"]] if params.get("x_axis") else []
    metrics = [*(params.get("metrics") or []), *([params["metric"]] if params.get("metric") else [])]
    selected = [*(f'"{name}"' for name in columns), *(metric["sqlExpression"] for metric in metrics)]
    conditions = [one["sqlExpression"] for one in params["adhoc_filters"] if one["expressionType"] == "SQL"]
    where = " AND ".join(conditions) or "true"
    rows = serving.execute(
        f"SELECT {', '.join(selected)} FROM ({dataset['sql']}) WHERE {where} GROUP BY ALL"
    ).fetchall()
    assert any(value is not None for row in rows for value in row)
