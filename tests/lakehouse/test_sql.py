"""Questions over Delta tables, answered without Spark: views, newest snapshots, errors in a sentence, no way out."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lakehouse.catalog import TABLES
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.s3 import duckdb_secret
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect, query, tables
from lakehouse.sql_guard import LAYERS
from lakehouse.sql_names import VIEWS
from producer.contract import CONTEXT, DATA_FIELDS, ENVELOPE, EVENT_TYPES
from silver import views
from silver.events import TABLE as EVENTS
from tests.support import folder_lake
from tests.support.escapes import ESCAPES
from tests.support.folder_s3 import FolderS3, FolderTable

REACHING = [  # what got out of the lake's reader
    "SELECT * FROM enable_logging(storage = 'file', storage_path = 's3://shoplake/log')",
    "SELECT * FROM enable_logging(storage = 'file', storage_path = '{folder}/log')",
    "SELECT * FROM delta_scan('https://127.0.0.1:9/table')",
    "SELECT * FROM delta_scan('s3://other/table')",
    "SELECT * FROM delta_list_files('file://{folder}')",
    "SELECT * FROM read_text('s3://shoplake/../other/a.txt')",
    "SELECT * FROM read_blob('s3://shoplake/*')",
    "FROM 's3://shoplake/../other/a.csv'",
    "DESCRIBE 's3://other/a.parquet'",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT write_log('x')",
    "SELECT x.glob() FROM (VALUES ('/*')) AS t(x)",
    "SELECT * FROM histogram_values('s3://shoplake/../other/a.csv', x)",
    "SELECT * FROM pg_settings",
    "SELECT * FROM gold.kpis_hourly ORDER BY getenv('HOME')",
    'FROM "s3://shoplake/../other/a"."csv"',
    'SELECT clicks FROM gold.kpis_hourly, "s3://shoplake/gold/a".main."json"',
    "EXPLAIN ANALYZE /* /* */ (a) SELECT 1 -- */ COPY (FROM gold.kpis_hourly) TO 's3://shoplake/a.csv'",
]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderS3]:
    server = FolderS3(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def settings(s3: FolderS3, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(s3_port=s3.port, bucket="shoplake", data_dir=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def lake(s3: FolderS3) -> dict[str, FolderTable]:
    return folder_lake.fill(s3.folder / "shoplake")


@pytest.fixture(scope="module")
def reader(settings: Settings, lake: dict[str, FolderTable]) -> Iterator[SqlReader]:
    with connect(settings) as opened:
        yield opened


def test_reads_views_of_lines_and_products(reader: SqlReader) -> None:
    (row,) = reader.query("SELECT count(*) AS lines, sum(line_amount) AS amount FROM silver.purchase_lines")
    assert row == {"lines": 30, "amount": 30.0}
    assert reader.query("SELECT * FROM gold.products") == []  # no event is about a product
    assert reader.query("DESCRIBE gold.products")[0]["column_name"] == "product_id"


def test_reads_typed_views_in_utc(reader: SqlReader) -> None:
    rows = reader.query("SELECT * FROM silver.purchases WHERE event_date = DATE '2026-09-02' ORDER BY event_id LIMIT 1")
    assert rows[0]["event_time"] == datetime(2026, 9, 2, 10, tzinfo=UTC)
    assert rows[0]["event_time"].utcoffset().total_seconds() == 0
    assert rows[0]["products"] == [{"product_id": "p1", "quantity": 2, "price": 0.5}]
    assert rows[0]["event_date"] == date(2026, 9, 2)
    assert list(rows[0]) == list(VIEWS["silver.purchases"].columns)


def test_partition_filters_lose_nothing(reader: SqlReader) -> None:
    plain = {
        row["d"]: row["n"] for row in reader.query("SELECT event_date d, count(*) n FROM silver.events GROUP BY 1")
    }
    for day, count in plain.items():
        assert reader.query(f"SELECT count(*) n FROM silver.events WHERE event_date = '{day}'") == [{"n": count}]
    assert sum(plain.values()) == 60


def test_an_empty_table_is_no_rows(reader: SqlReader) -> None:
    assert reader.query("SELECT * FROM gold.fraud_flags") == []
    described = reader.query("DESCRIBE gold.fraud_flags")
    assert [row["column_name"] for row in described] == ["flag_id", "event_time"]


def test_each_query_sees_the_newest_snapshot_and_schema(reader: SqlReader, lake: dict[str, FolderTable]) -> None:
    assert reader.query("SELECT * FROM gold.kpis_hourly") == [{"clicks": 1, "value": b"\x00\xff"}]
    lake["growing"].commit("SELECT 2::BIGINT AS clicks, NULL::BLOB AS value")
    assert reader.query("SELECT sum(clicks) n FROM gold.kpis_hourly") == [{"n": 3}]
    lake["growing"].widen({"clicks": "long", "value": "binary", "searches": "long"})
    lake["growing"].commit("SELECT 3::BIGINT AS clicks, NULL::BLOB AS value, 9::BIGINT AS searches")
    assert reader.query("SELECT sum(searches) n FROM gold.kpis_hourly") == [{"n": 9}]


def test_equal_column_names_do_not_hide_values(reader: SqlReader) -> None:
    assert reader.query("SELECT 1 AS a, 2 AS a") == [{"a": 1, "a_1": 2}]


def test_large_answers_stream(reader: SqlReader) -> None:
    rows = reader.stream("SELECT range AS n, repeat('x', 1000) AS text FROM range(1_000_000_000)").rows
    assert next(rows)[0] == 0


def test_information_schema_shows_what_there_is(reader: SqlReader) -> None:
    rows = reader.query("SELECT table_schema || '.' || table_name AS name FROM information_schema.tables")
    assert {"silver.events", "silver.purchases", "gold.fraud_flags"} <= {row["name"] for row in rows}


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("SELECT * FROM gold.fraud_flag", r"There is no table gold.fraud_flag; did you mean gold.fraud_flags"),
        ("SELECT * FROM events", r"There is no table events; did you mean silver.events or bronze.events\?"),
        ("SELECT * FROM wholly_unlike", r"There is no table wholly_unlike; `shoplake sql --tables` lists all"),
        ("SELECT * FROM silver.quarantine", r"silver.quarantine holds no data yet \(nothing at s3://shoplake/silver"),
        ("SELECT revenue FROM gold.fraud_flags", r"There is a column revenue in gold.revenue_hourly, gold.kpis_hourly"),
        ("SELECT total_amount FROM gold.kpis_hourly", r"In silver.events, total_amount is called amount\."),
        ("SELECT nope FROM gold.fraud_flags", r'The query fails: Referenced column "nope" not found'),
        ("SELECT CAST('x' AS INT)", r"The query fails: Could not convert string 'x' to INT32"),
    ],
)
def test_errors_are_one_sentence(reader: SqlReader, statement: str, sentence: str) -> None:
    with pytest.raises(ShoplakeError, match=sentence) as caught:
        reader.query(statement)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("attempt", [*REACHING, *(one for one in ESCAPES if "(" in one)])
def test_the_lake_gives_nothing_but_its_tables(reader: SqlReader, s3: FolderS3, tmp_path: Path, attempt: str) -> None:
    before = sorted(s3.folder.rglob("*"))
    places = {"folder": tmp_path, "secret": tmp_path / "secret.csv", "other": tmp_path / "other.duckdb"}
    with pytest.raises(UsageError, match=r"not allowed here|is no table|read-only") as refused:
        reader.query(attempt.format(**places))
    assert "\n" not in str(refused.value)
    assert sorted(s3.folder.rglob("*")) == before and not list(tmp_path.iterdir())


def test_a_column_that_looks_like_a_table_is_let_pass(reader: SqlReader) -> None:
    assert reader.query("SELECT gold.flag_id FROM gold.fraud_flags AS gold") == []


def test_s3_away_is_said_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ShoplakeError, match=r"S3 does not answer at http://127.0.0.1:1024"):
        query(Settings(s3_port=1024), "SELECT * FROM gold.fraud_flags")
    assert time.monotonic() - started < 5


def test_secret_states_endpoint_style_and_token() -> None:
    keys = ("k'1", "s", "t")
    embedded = duckdb_secret(Settings(s3_port=9123), keys)
    assert "ENDPOINT '127.0.0.1:9123'" in embedded
    assert "URL_STYLE 'path'" in embedded
    assert "USE_SSL false" in embedded
    assert "KEY_ID 'k''1'" in embedded
    aws = duckdb_secret(Settings(s3_endpoint="", s3_region="eu-west-1"), keys)
    assert "ENDPOINT" not in aws
    assert "USE_SSL" not in aws
    assert "SESSION_TOKEN 't'" in aws
    assert "REGION 'eu-west-1'" in aws
    assert "USE_SSL" not in duckdb_secret(Settings(s3_endpoint="https://minio.example"), keys)


def test_threads_share_a_reader(reader: SqlReader) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(reader.query, ["SELECT count(*) AS n FROM silver.purchases"] * 8))
    assert answers == [[{"n": 30}]] * 8


def test_typed_views_follow_the_contract() -> None:
    assert list(views.VIEWS) == [
        "silver.page_views",
        "silver.product_views",
        "silver.clicks",
        "silver.adds_to_cart",
        "silver.adds_to_wishlist",
        "silver.purchases",
        "silver.searches",
    ]
    shared = [field.silver_column for field in (*ENVELOPE, *CONTEXT)]
    for event_type, view in zip(EVENT_TYPES, views.VIEWS.values(), strict=True):
        assert f"event_type = '{event_type.name}'" in view.sql
        own = [DATA_FIELDS[name].silver_column for name in event_type.fields]
        assert list(view.columns) == [*shared, *own, "event_date"]
        assert set(view.columns) <= set(EVENTS.columns)


def test_lists_every_table_and_view_with_its_grain() -> None:
    listed = dict(tables().rows)
    assert set(listed) == {table.full_name for table in TABLES} | set(VIEWS)
    assert all(listed.values())
    assert {table.layer for table in TABLES} <= set(LAYERS)
    assert {name.split(".")[0] for name in dict(tables("gold").rows)} == {"gold"}
