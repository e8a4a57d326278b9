"""The dashboards' YAML: references hold, every dataset answers with rows, the database is opened locked."""

import runpy
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
import yaml

from benchmarks.dashboards import FOLDER, chart_query, read_assets
from lakehouse.serving.file import LOCKED, open_serving
from lakehouse.sql_guard import check_reading
from tests.support.sample_serving import fill
from tests.support.serving_lake import Lake

KINDS = ("databases", "datasets", "charts", "dashboards")
FILES: dict[str, list[dict[str, Any]]] = {kind: read_assets(kind) for kind in KINDS}
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


def test_the_files_are_as_an_export_writes_them() -> None:
    """So that an export after an import has no difference; in a real Superset: tests/dashboards/test_superset.py."""
    assets = runpy.run_path(str(FOLDER / "assets.py"))
    for name, text in assets["files"]().items():
        assert assets["dump"](assets["plain"](yaml.safe_load(text))) == text, f"superset/{name}"


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
    assert check_reading(dataset["sql"])
    cursor = serving.execute(dataset["sql"])
    names = [column[0] for column in cursor.description or []]
    assert sorted(names) == sorted(column["column_name"] for column in dataset["columns"])
    assert cursor.fetchall()


@pytest.mark.parametrize("chart", FILES["charts"], ids=lambda item: str(item["slice_name"]))
def test_every_chart_answers_with_rows(serving: duckdb.DuckDBPyConnection, chart: dict[str, Any]) -> None:
    dataset = next(item for item in FILES["datasets"] if item["uuid"] == chart["dataset_uuid"])
    assert check_reading(chart_query(chart, dataset))
    rows = serving.execute(chart_query(chart, dataset)).fetchall()
    assert any(value is not None for row in rows for value in row)


GATED = "WHERE table_name = 'gold.kpis_hourly'"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("rows = rows", "Yes. No check holds them back. Last change 2026-09-03 10:20 UTC."),
        (
            f"blocked_by = 'gold.kpis_hourly.hour_is_whole' {GATED}",
            "HELD BACK: gold.kpis_hourly is shown as of 2026-09-03 10:20 UTC, its last good figures."
            " Newer ones fail gold.kpis_hourly.hour_is_whole",
        ),
        (
            f"held_rows = 2, held_by = 'gold.kpis_hourly.hour_is_whole' {GATED}",
            "Held back: 2 rows of gold.kpis_hourly, which fail gold.kpis_hourly.hour_is_whole. The others are current.",
        ),
        (
            f"let_through = 'gold.kpis_hourly.hour_is_whole' {GATED}",
            "Let through: gold.kpis_hourly is shown although it fails gold.kpis_hourly.hour_is_whole",
        ),
        (
            "newest_data_at = TIMESTAMP '2026-09-03 10:15:00'",
            "OLD: nothing has been computed since 2026-09-03 10:15 UTC. The stream or the publishing stands still:"
            " see Pipeline health.",
        ),
        ("rows = 0", "No events have come yet: `shoplake produce` sends some."),
        ("rows = NULL, newest_data_at = NULL", "No events have come yet: `shoplake produce` sends some."),
    ],
)
def test_the_dashboards_say_whether_their_figures_are_current(
    serving: duckdb.DuckDBPyConnection, state: str, said: str
) -> None:
    (figures,) = [item for item in FILES["datasets"] if item["table_name"] == "figures"]
    shared = {item["uuid"] for item in FILES["charts"] if item["dataset_uuid"] == figures["uuid"]}
    shown_on = {item["slug"] for item in FILES["dashboards"] if shared & set(charts_of(item))}
    assert shown_on == {"shop-now", "fraud-desk", "retention"}, "on Pipeline health it is a column of what is published"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        published = serving.execute("FROM _published").to_arrow_table()
        connection.execute("CREATE TABLE _published AS FROM published")
        connection.execute("UPDATE _published SET published_at = TIMESTAMP '2026-09-03 10:20:30', rows = 1")
        connection.execute(f"UPDATE _published SET {state}")
        assert [row[0] for row in connection.execute(figures["sql"]).fetchall()] == [said]
        assert published.num_rows > 1


@pytest.mark.parametrize(
    "chart", [one for one in FILES["charts"] if one["viz_type"] == "table"], ids=lambda one: one["slice_name"]
)
def test_no_table_shows_markup_of_an_event(chart: dict[str, Any]) -> None:
    """Superset would render it, over the whole page where it says so: what looks like a login form may be an event."""
    assert chart["params"]["allow_render_html"] is False


def test_no_series_has_markup_of_an_event_in_its_name() -> None:
    """Superset renders names of series in tooltips. All others are words of this project."""
    (dataset,) = [one for one in FILES["datasets"] if one["table_name"] == "revenue_hours"]
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA gold")
        connection.execute(
            "CREATE TABLE gold.revenue_hourly AS SELECT now() AS hour_start, unnest(['EUR', '<b>EUR</b>']) AS currency,"
            " 1 AS purchases, 1 AS orders, 1 AS revenue"
        )
        found = connection.execute(dataset["sql"]).fetchall()
    assert sorted(row[1] for row in found) == ["EUR", "other"]


def test_a_rank_is_compared_with_an_hour_that_does_not_overlap() -> None:
    (now,) = [item for item in FILES["datasets"] if item["table_name"] == "top_products_now"]
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE SCHEMA gold; CREATE TABLE gold.top_products_last_hour AS SELECT TIMESTAMP '2026-09-03 22:01:00' AS"
            " as_of, as_of - INTERVAL 1 HOUR AS window_start, 1 AS rank, 'p' AS product_id, 'A lamp' AS product_name,"
            " 5 AS views, 3 AS unique_viewers; CREATE TABLE gold.top_products_hourly AS SELECT * FROM (VALUES"
            " ('p', TIMESTAMP '2026-09-03 21:00:00', 1), ('p', TIMESTAMP '2026-09-03 20:00:00', 4))"
            " AS given(product_id, hour_start, rank)"
        )
        (row,) = connection.execute(now["sql"]).fetchall()
        assert "▲ 3" in row
