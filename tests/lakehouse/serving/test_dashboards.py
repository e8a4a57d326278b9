"""The dashboards' YAML: references hold, every dataset answers with rows, the database is opened locked."""

import re
import runpy
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import duckdb
import pytest
import yaml

from benchmarks.dashboards import FOLDER, chart_query, columns_and_metrics, read_assets
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
        (
            "newest_data_at = now()::TIMESTAMP + INTERVAL 5 SECOND",
            "Yes. The data is 0 s old, and no check holds any of it back.",
        ),
        (
            "newest_data_at = now()::TIMESTAMP - INTERVAL 130 SECOND",
            "Yes. The data is 2 min old, and no check holds any of it back.",
        ),
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


@pytest.mark.parametrize(("views", "change"), [(100, "▲ 3"), (99, "–")])
def test_a_rank_is_compared_with_an_hour_that_does_not_overlap_and_had_enough_views(views: int, change: str) -> None:
    (now,) = [item for item in FILES["datasets"] if item["table_name"] == "top_products_now"]
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE SCHEMA gold; CREATE TABLE gold.top_products_last_hour AS SELECT TIMESTAMP '2026-09-03 22:01:00' AS"
            " as_of, as_of - INTERVAL 1 HOUR AS window_start, 1 AS rank, 'p' AS product_id, 'A lamp' AS product_name,"
            " 5 AS views, 3 AS unique_viewers; CREATE TABLE gold.top_products_hourly AS SELECT * FROM (VALUES"
            f" ('p', TIMESTAMP '2026-09-03 21:00:00', 1, 500), ('p', TIMESTAMP '2026-09-03 20:00:00', 4, {views}))"
            " AS given(product_id, hour_start, rank, views)"
        )
        (row,) = connection.execute(now["sql"]).fetchall()
        assert change in row


def test_a_minute_in_which_a_backlog_was_read_is_left_out() -> None:
    """Its events are of other hours: together an hour's minutes have no more than the hour."""
    (minutes,) = [item for item in FILES["datasets"] if item["table_name"] == "shop_minutes"]
    with duckdb.connect() as connection:
        connection.execute(
            "SET TimeZone = 'UTC'; CREATE SCHEMA gold; CREATE SCHEMA ops; CREATE TABLE gold.kpis_hourly AS SELECT"
            " date_trunc('hour', now()::TIMESTAMP) - to_hours(range) AS hour_start, 300 AS page_views, 300 AS"
            " product_views, 100 AS clicks, 100 AS carts, 100 AS purchases, 100 AS searches FROM range(5);"
            " CREATE TABLE ops.batch_minutes AS SELECT date_trunc('hour', now()::TIMESTAMP) - INTERVAL 1 HOUR"
            " + to_minutes(minute) AS minute_start, silver FROM (VALUES (0, 5), (1, 310), (2, 300), (3, 400), (4, 301),"
            " (5, 30000), (-999, 5)) AS given(minute, silver)"
        )
        told = {row[0]: row[1] for row in connection.execute(minutes["sql"]).fetchall()}
        ((now, hour),) = connection.execute(
            "SELECT date_trunc('minute', now()::TIMESTAMP), date_trunc('hour', now()::TIMESTAMP) - INTERVAL 1 HOUR"
        ).fetchall()
    assert len(told) == 180 and min(told) == now - timedelta(minutes=180)
    shown = [told[hour + timedelta(minutes=minute)] for minute in range(7)]
    assert shown == [5, 310, 300, None, 301, None, 0]


def test_conversion_has_one_definition() -> None:
    (hours,) = [item for item in FILES["datasets"] if item["table_name"] == "shop_hours"]
    assert "conversion" in {metric["metric_name"] for metric in hours["metrics"]}
    asked = [columns_and_metrics(chart)[1] for chart in FILES["charts"] if "Conversion" in chart["slice_name"]]
    assert asked == [["conversion"]] * 2


def named(kind: str, name: str) -> dict[str, Any]:
    """A dataset or chart by its name."""
    (found,) = [item for item in FILES[kind] if name in (item.get("table_name"), item.get("slice_name"))]
    return found


def test_retention_shows_twelve_cohorts_of_twenty_users_over_twelve_periods() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE SCHEMA gold; CREATE TABLE gold.cohort_retention AS SELECT 'week' AS granularity, 'n_day' AS"
            " definition, 'any' AS activity, 'UTC' AS timezone, DATE '2026-06-01' + 7 * week::INT AS cohort_start,"
            " if(week = 15, 19, 20 + week) AS cohort_size, period AS period_index, 5 AS retained_users,"
            " if(week = 13 AND period = 3, 0.004, 0.25) AS retention_rate, week + period < 16 AS is_complete"
            " FROM range(16) weeks(week), range(17)"
            " periods(period) WHERE week + period <= 16"
        )
        rows = connection.sql(named("datasets", "retention")["sql"])
        assert rows.aggregate("min(period_index), max(period_index), count(DISTINCT cohort)").fetchall() == [
            (1, 12, 12)
        ]
        oldest, newest = rows.aggregate("min(cohort), max(cohort)").fetchall()[0]
        assert (oldest, newest) == ("2026-06-22 (23)", "2026-09-07 (34)")  # that of the 14th has 19 users
        for cohort, shown in {"2026-09-07 (34)": [0.25, -0.25], "2026-08-31 (33)": [0.25, 0.25]}.items():
            cells = rows.filter(f"cohort = '{cohort}'").order("period_index").project("shown_rate").fetchall()
            assert [float(share) for (share,) in cells] == shown  # a running 0% could have no brackets


def test_a_running_period_is_in_brackets_and_never_above_a_complete_one() -> None:
    """The map shows it as a negative share: below its lowest colour, and in brackets; the curve not at all."""
    cells, curve = (named("charts", name) for name in RETENTION)
    assert cells["dataset_uuid"] == curve["dataset_uuid"] == named("datasets", "retention")["uuid"]
    assert cells["params"]["y_axis_format"] == "(.0%" and cells["params"]["value_bounds"][0] == 0
    assert [one["sqlExpression"] for one in curve["params"]["adhoc_filters"]] == ["is_complete"]


RETENTION = ("Share of each cohort that came back", "Retention curve, all these cohorts")


def test_low_is_not_green() -> None:
    (desk,) = [item for item in FILES["dashboards"] if item["slug"] == "fraud-desk"]
    red, green, blue = bytes.fromhex(desk["metadata"]["label_colors"]["low"].removeprefix("#"))
    assert green < max(red, blue)


@pytest.mark.parametrize(
    "chart", [item for item in FILES["charts"] if item["viz_type"] == "table"], ids=lambda item: str(item["slice_name"])
)
def test_no_two_columns_of_a_table_say_the_same(serving: duckdb.DuckDBPyConnection, chart: dict[str, Any]) -> None:
    dataset = next(item for item in FILES["datasets"] if item["uuid"] == chart["dataset_uuid"])
    columns = [*zip(*serving.execute(chart_query(chart, dataset)).fetchall(), strict=True)]
    texts = [column for column in columns if any(isinstance(value, str) and value for value in column)]
    assert len(set(texts)) == len(texts)


def test_refused_records_have_a_scale_of_their_own() -> None:
    of_batches = [item for item in FILES["charts"] if item["dataset_uuid"] == named("datasets", "batches")["uuid"]]
    asked = [{str(one) for one in columns_and_metrics(chart)[1]} for chart in of_batches]
    refused = [metrics for metrics in asked if any("sum(quarantined)" in metric for metric in metrics)]
    assert len(refused) == 1 and not any("silver" in metric for metric in refused[0])


def test_names_are_plain_english() -> None:
    names = [chart["slice_name"] for chart in FILES["charts"]]
    names += [column["verbose_name"] or "" for dataset in FILES["datasets"] for column in dataset["columns"]]
    jargon = re.compile(r"gold|silver|bronze|books|quarantine|expectation|_", re.IGNORECASE)
    assert [name for name in names if jargon.search(name)] == []


def test_each_dashboard_says_in_a_sentence_what_it_is() -> None:
    for dashboard in FILES["dashboards"]:
        assert re.fullmatch(r"[A-Z][^.]+\.", dashboard["description"]), dashboard["slug"]
