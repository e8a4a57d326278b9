"""The guard, the output formats and the reading of Delta tables, without Spark."""

import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.s3 import duckdb_secret
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.serving import sql_output
from lakehouse.settings import Settings
from lakehouse.sql import Result, SqlReader, connect, query, tables
from lakehouse.sql_guard import LAYERS, check_reading, listed_layer, named_tables, tokens
from lakehouse.sql_names import VIEWS
from producer.contract import CONTEXT, DATA_FIELDS, ENVELOPE, EVENT_TYPES
from silver import views
from silver.events import TABLE as EVENTS
from tests.support.escapes import ESCAPES
from tests.support.folder_s3 import FolderS3, FolderTable

Run = Callable[..., Any]

REFUSED = [
    "",
    "   -- nothing but a comment",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE silver.events",
    "INSERT INTO silver.events VALUES (1)",
    "UPDATE silver.events SET price = 0",
    "DELETE FROM silver.events",
    "MERGE INTO silver.events USING x ON true WHEN MATCHED THEN DELETE",
    "TRUNCATE silver.events",
    "CREATE TABLE t (a INT)",
    "CREATE OR REPLACE VIEW silver.events AS SELECT 1",
    "CREATE SECRET (TYPE s3)",
    "DROP VIEW silver.events",
    "ALTER VIEW silver.events RENAME TO x",
    "COPY silver.events TO 's3://shoplake/x.csv'",
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "EXPORT DATABASE 'x'",
    "ATTACH 'x.db'",
    "DETACH x",
    "USE silver",
    "INSTALL spatial",
    "LOAD spatial",
    "SET TimeZone = 'Europe/Berlin'",
    "RESET TimeZone",
    "PRAGMA version",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN INSERT INTO silver.events VALUES (1)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 's3://shoplake/x.csv'",
    "EXPLAIN (FORMAT json) DELETE FROM silver.events",
    "/* SELECT */ DROP VIEW silver.events",
    "PIVOT silver.events ON event_type",
]
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
]
READING = [
    "SELECT 1",
    "select ';' as a;",
    "-- a comment\nSELECT 1 /* ; */",
    "(SELECT 1)",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "FROM range(3)",
    "VALUES (1), (2)",
    "TABLE silver.events",
    "DESCRIBE silver.events",
    "SHOW TABLES",
    "SUMMARIZE silver.events",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN (FORMAT json) SELECT 1",
    "EXPLAIN (SELECT 1)",
    "PIVOT gold.kpis_hourly ON clicks IN (1, 2) USING sum(views)",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_refuses_what_does_more_than_read(statement: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_reading(statement)
    assert caught.value.exit_code == 2
    assert "read-only" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("statement", READING)
def test_lets_reading_pass(statement: str) -> None:
    assert check_reading(statement)


def test_a_syntax_error_is_one_sentence() -> None:
    with pytest.raises(ShoplakeError, match=r'^The query fails: syntax error at or near "x"\.$') as caught:
        check_reading("SELECT 1 FRM x y z")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("SELECT * FROM silver.events", ["silver.events"]),
        ('SELECT * FROM "Silver" . "events" JOIN GOLD.KPIS_hourly USING (x)', ["silver.events", "gold.kpis_hourly"]),
        ("SELECT 'silver.events', $$gold.x$$ -- bronze.events\n/* ops.batches */", []),
        ("SELECT 'it''s', E'\\' gold.x' FROM ops.batches", ["ops.batches"]),
        ("DESCRIBE gold.fraud_flags", ["gold.fraud_flags"]),
        ("SELECT a.b FROM other.events", []),
        ("SELECT 'größe' AS ü FROM silver.searches", ["silver.searches"]),
    ],
)
def test_finds_the_tables_a_statement_names(statement: str, names: list[str]) -> None:
    assert named_tables(tokens(statement)) == names


@pytest.mark.parametrize(
    ("statement", "layer"),
    [
        ("SHOW TABLES", ""),
        ("show all tables;", ""),
        ("DESCRIBE", ""),
        ("SHOW TABLES FROM gold", "gold"),
        ("SHOW silver.events", None),
        ("DESCRIBE silver.events", None),
    ],
)
def test_knows_a_listing(statement: str, layer: str | None) -> None:
    assert listed_layer(tokens(statement)) == layer


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
    from lakehouse.catalog import TABLES

    listed = dict(tables().rows)
    assert set(listed) == {table.full_name for table in TABLES} | set(VIEWS)
    assert all(listed.values())
    assert {table.layer for table in TABLES} <= set(LAYERS)
    assert {name.split(".")[0] for name in dict(tables("gold").rows)} == {"gold"}


# ---- output

VALUES = {
    "moment": datetime(2026, 9, 1, 10, 15, 30, 123456, tzinfo=UTC),
    "day": date(2026, 9, 1),
    "money": Decimal("19.90"),
    "whole": Decimal(12),
    "nothing": None,
    "undefined": float("nan"),
    "endless": float("-inf"),
    "raw": b"\x00\xff{}",
    "lines": [{"product_id": 'p"1', "quantity": 2, "price": float("inf")}],
    "text": 'a "b", c\nd',
    "flag": True,
    "naive": datetime(2026, 9, 1),
}


def result(*rows: dict[str, object]) -> Result:
    return Result(tuple(VALUES), ("VARCHAR",) * len(VALUES), iter([tuple(row.values()) for row in rows]))


def test_json_is_a_list_of_objects() -> None:
    out = io.StringIO()
    sql_output.write_json(result(VALUES, VALUES), out)
    rows = json.loads(out.getvalue())
    assert len(rows) == 2
    assert rows[0] == {
        "moment": "2026-09-01T10:15:30.123456Z",
        "day": "2026-09-01",
        "money": 19.9,
        "whole": 12,
        "nothing": None,
        "undefined": None,
        "endless": None,
        "raw": "AP97fQ==",
        "lines": [{"product_id": 'p"1', "quantity": 2, "price": None}],
        "text": 'a "b", c\nd',
        "flag": True,
        "naive": "2026-09-01T00:00:00",
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("12345678901234567890123456789.123456789"), "12345678901234567890123456789.123456789"),
        (Decimal("2000000000000.000000003"), "2000000000000.000000003"),
        (Decimal("0.000000000"), "0"),
        (Decimal("-0.000000030"), "-0.00000003"),
        (Decimal("40.000000000"), "40"),
        (Decimal(1200), "1200"),
        (2**70, "1180591620717411303424"),
        ([Decimal("0.000000003")], "[0.000000003]"),
    ],
)
def test_no_digit_of_a_number_is_lost_in_json_and_csv(value: object, written: str) -> None:
    out = io.StringIO()
    sql_output.write_json(Result(("n",), ("DECIMAL",), iter([(value,)])), out)
    assert out.getvalue() == f'[\n{{"n":{written}}}\n]\n'
    if not isinstance(value, int):
        assert sql_output.exact_json({"n": value}) == f'{{"n":{written}}}'.encode()
    csv_out = io.StringIO()
    sql_output.write_csv(Result(("n",), ("DECIMAL",), iter([(value,)])), csv_out)
    assert "e" not in csv_out.getvalue().lower()
    assert "e" not in sql_output.cell(value).plain.lower()


def test_json_of_no_rows_is_an_empty_list() -> None:
    out = io.StringIO()
    sql_output.write_json(result(), out)
    assert json.loads(out.getvalue()) == []


def test_csv_is_rfc_4180_but_for_the_ends_of_lines() -> None:
    out = io.StringIO()
    sql_output.write_csv(result(VALUES), out)
    assert out.getvalue().endswith("\n") and "\r" not in out.getvalue()
    (row,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    assert row["money"] == "19.90"
    assert row["nothing"] == row["undefined"] == ""
    assert row["text"] == VALUES["text"]
    assert json.loads(row["lines"])[0]["price"] is None
    assert row["flag"] == "true"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_text_in_csv_is_a_formula_of_a_spreadsheet(text: str) -> None:
    out = io.StringIO()
    sql_output.write_csv(Result((text, "n"), ("VARCHAR", "DECIMAL"), iter([(text, Decimal("-1.5"))])), out)
    (head, row) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert head[0] == row[0] == f"'{text}" and row[1] == "-1.5"


def test_a_failing_first_row_writes_nothing() -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        raise ShoplakeError("no")
        yield ()

    out = io.StringIO()
    with pytest.raises(ShoplakeError):
        sql_output.write_json(Result(("a",), ("INTEGER",), rows()), out)
    assert out.getvalue() == ""


def printed(answer: Result, limit: int = 200, width: int = 100, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    sql_output.print_table(answer, console, limit)
    return console.file.getvalue()


def test_table_cuts_rows_with_a_note() -> None:
    numbers = Result(("n",), ("BIGINT",), iter([(number,) for number in range(5)]))
    text = printed(numbers, limit=3)
    assert "│ 2 │" in text
    assert "│ 3 │" not in text
    assert "the first 3 rows; there are more: --limit 0 shows all" in text


def test_table_aligns_numbers_and_disarms_control_characters() -> None:
    answer = Result(("name", "views"), ("VARCHAR", "BIGINT"), iter([("\x1b[31mred", 7), ("[bold]x", 12345)]))
    text = printed(answer)
    assert "│     7 │" in text
    assert "\\x1b[31mred" in text
    assert "[bold]x" in text


def test_table_prints_wide_rows_as_records_on_a_terminal() -> None:
    text = printed(result(VALUES), terminal=True, width=80)
    assert "── row 1" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_table_cuts_nothing_in_a_pipe() -> None:
    long = "x" * 500
    assert long in printed(Result(("a",), ("VARCHAR",), iter([(long,)])))


# ---- reading


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
    """A partitioned silver.events of three days, an empty table, and one to grow."""
    bucket = s3.folder / "shoplake"
    lines = {
        "type": "array",
        "containsNull": True,
        "elementType": {
            "type": "struct",
            "fields": [
                {"name": name, "type": kind, "nullable": True, "metadata": {}}
                for name, kind in {"product_id": "string", "quantity": "integer", "price": "double"}.items()
            ],
        },
    }
    names = dict.fromkeys(EVENTS.columns, "string")
    events = FolderTable(
        bucket / "silver" / "events",
        names | {"event_time": "timestamp", "products": lines, "amount": "double", "event_date": "date"},
        ("event_date",),
    )
    events.create()
    stated = {"event_id", "event_type", "event_time", "products", "amount", "event_date"}
    rest = ", ".join(f'NULL::VARCHAR AS "{name}"' for name in EVENTS.columns if name not in stated)
    for day in (1, 2, 3):
        events.commit(
            f"""SELECT 'e{day}-' || range AS event_id, if(range % 2 = 0, 'purchase', 'search') AS event_type,
                '2026-09-0{day} 10:00:00+00'::TIMESTAMPTZ AS event_time, 1.5::DOUBLE AS amount,
                [{{'product_id': 'p1', 'quantity': 2::INT, 'price': 0.5::DOUBLE}}] AS products, {rest}
                FROM range({day * 10})""",
            {"event_date": f"2026-09-0{day}"},
        )
    empty = FolderTable(bucket / "gold" / "fraud_flags", {"flag_id": "string", "event_time": "timestamp"})
    empty.create()
    growing = FolderTable(bucket / "gold" / "kpis_hourly", {"clicks": "long", "value": "binary"})
    growing.create()
    growing.commit("SELECT 1::BIGINT AS clicks, '\\x00\\xFF'::BLOB AS value")
    return {"events": events, "empty": empty, "growing": growing}


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


@pytest.mark.parametrize(("typed", "meant"), [("SELEC 1", "SELECT"), ("form ops.batches", "FROM"), ("whit", "WITH")])
def test_a_typing_error_is_not_taken_for_a_write(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"^\S+ begins no statement; did you mean {meant}\?$"):
        check_reading(typed)


def test_what_a_shop_asks_is_allowed() -> None:
    page = (PROJECT_ROOT / "docs" / "how-to" / "sql.md").read_text(encoding="utf-8")
    asked = re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(asked) > 10 and all(check_reading(one) for one in asked)


def test_a_deep_statement_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        check_reading("SELECT " + "+".join(["1"] * 900))


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


# ---- command line


@pytest.fixture
def run(settings: Settings, lake: dict[str, FolderTable], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `shoplake sql …` and hands back its result."""
    monkeypatch.setenv("SHOPLAKE_S3_PORT", str(settings.s3_port))
    monkeypatch.setenv("SHOPLAKE_DATA_DIR", str(settings.data_dir))
    # The limit would stay with the process of the tests; tests/lakehouse/test_watchdog.py tries it in one of its own.
    monkeypatch.setattr("lakehouse.watchdog.limit_memory", lambda _megabytes: None)
    return lambda *arguments, given=None: CliRunner().invoke(app, ["sql", *arguments], input=given)


def test_command_prints_json_and_nothing_else(run: Run) -> None:
    ran = run("--format", "json", "SELECT count(*) AS n FROM silver.searches WHERE event_date = '2026-09-03'")
    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == [{"n": 15}]
    assert ran.stderr == ""


def test_command_reads_standard_input_and_limits_rows(run: Run) -> None:
    ran = run("--format", "csv", "--limit", "2", "-", given="SELECT range AS n FROM range(5)")
    assert ran.stdout.splitlines() == ["n", "0", "1"]


def test_command_lists_tables(run: Run) -> None:
    assert "gold.fraud_flags" in run("--tables").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["DROP VIEW silver.events"], 2),
        ([], 2),
        (["--tables", "SELECT 1"], 2),
        (["SELECT * FROM gold.nope"], 1),
        (["SELECT * FROM silver.quarantine"], 1),
    ],
)
def test_command_fails_with_a_sentence(run: Run, arguments: list[str], exit_code: int) -> None:
    ran = run(*arguments)
    assert isinstance(ran.exception, ShoplakeError)
    assert ran.exception.exit_code == exit_code
    assert ran.stdout == ""


def test_threads_share_a_reader(reader: SqlReader) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(reader.query, ["SELECT count(*) AS n FROM silver.purchases"] * 8))
    assert answers == [[{"n": 30}]] * 8


def test_a_question_loads_no_spark() -> None:
    loaded = "lakehouse.sql, lakehouse.serving.sql_output, lakehouse.cli.sql"
    check = f"import {loaded}, sys; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
