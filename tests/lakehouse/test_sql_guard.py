"""What may be asked: statements that read, and the tables that they name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.sql_guard import ALLOWED, check_reading, statements

TYPED = re.compile("from_json|json_transform")

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
    "/* /* */ SELECT 1 -- */ DROP VIEW silver.events",
    "EXPLAIN /* /* */ SELECT 1 -- */ DROP VIEW silver.events",
    "/* /* */ EXPLAIN SELECT 1 -- */ EXPLAIN DROP VIEW silver.events",
    "PIVOT silver.events ON event_type",
    "/* a comment */ EXPLAIN SELECT 1",
    "-- EXPLAIN SELECT 1 --\nEXPLAIN DROP VIEW silver.events",
    "-- EXPLAIN SELECT 1 --\n/* */ EXPLAIN DROP VIEW silver.events",
    "-- EXPLAIN SELECT 1 --\\\nEXPLAIN ( ANALYZE ) COPY silver.events TO 's3://shoplake/x.csv'",
    "EXPLAIN (ANALYZE /*) SELECT 1 --*/ ) COPY silver.events TO 's3://shoplake/x.csv'",
    "EXPLAIN\u00a0ANALYZE\u00a0INSERT\u00a0INTO\u00a0silver.events SELECT 1",
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
    "EXPLAIN(SELECT 1)",
    "EXPLAIN(FORMAT json) SELECT 1",
    "EXPLAIN ANALYZE(SELECT 1)",
    "EXPLAIN ( ANALYZE, FORMAT json ) SELECT 1",
    "; -- a comment\n-- another -- one\n\nEXPLAIN SELECT 1",
    "EXPLAIN (ANALYZE, FORMAT json) /* /* */ */ -- größe\n SELECT 'ü'",
    "SELECT\u00a0'\u00a0'\u3000FROM\ufeffsilver.events",
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
        ("SELECT 'ü' FROM\u00a0silver.searches /* /* */ JOIN gold.kpis_hourly */", ["silver.searches"]),
    ],
)
def test_finds_the_tables_a_statement_names(statement: str, names: list[str]) -> None:
    assert list(check_reading(statement).tables) == names


@pytest.mark.parametrize(
    ("statement", "layer"),
    [
        ("SHOW TABLES", ""),
        ("show all tables;", ""),
        ("DESCRIBE", ""),
        ("SHOW TABLES FROM gold", "gold"),
        ("-- what is there?\nSHOW TABLES /* all */;", ""),
        ('SHOW TABLES FROM "Gold" -- its tables', "gold"),
        ("EXPLAIN SHOW TABLES", None),
        ("FROM (SHOW TABLES)", None),
        ("SHOW silver.events", None),
        ("DESCRIBE silver.events", None),
    ],
)
def test_knows_a_listing(statement: str, layer: str | None) -> None:
    assert check_reading(statement).listed == layer


@pytest.mark.parametrize(("typed", "meant"), [("SELEC 1", "SELECT"), ("form ops.batches", "FROM"), ("whit", "WITH")])
def test_a_typing_error_is_not_taken_for_a_write(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"^\S+ begins no statement; did you mean {meant}\?$"):
        check_reading(typed)


@pytest.mark.parametrize(
    ("script", "texts"),
    [
        ("SELECT ';' /* ; */; -- one\n;FROM silver.events -- end", ["SELECT ';' /* ; */", "FROM silver.events -- end"]),
        ("PIVOT a ON b USING sum(c); SELECT 1", ["PIVOT a ON b USING sum(c); SELECT 1"]),
    ],
)
def test_statements_are_as_they_were_written(script: str, texts: list[str]) -> None:
    assert [one.strip() for one in statements(script)] == texts


@pytest.mark.parametrize("statement", [")", "?!"])
def test_a_statement_without_a_word_is_a_sentence(statement: str) -> None:
    with pytest.raises(UsageError, match=r"SUMMARIZE or EXPLAIN\.$"):
        check_reading(statement)


def test_what_a_shop_asks_is_allowed() -> None:
    page = (PROJECT_ROOT / "docs" / "how-to" / "sql.md").read_text(encoding="utf-8")
    asked = re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(asked) > 10 and all(check_reading(one) for one in asked)


@pytest.mark.parametrize("statement", ["SELECT '\udcff'", "SELECT 1 \0 ; DROP VIEW silver.events"])
def test_bytes_that_are_no_text_are_a_sentence(statement: str) -> None:
    with pytest.raises(UsageError, match=r"^The statement has bytes that are no text\.$"):
        check_reading(statement)


@pytest.mark.parametrize("statement", ["IMPORT DATABASE '{}'", "PRAGMA import_database('{}')"])
@pytest.mark.parametrize("before", ["", "SELECT 1; "])
def test_to_look_at_a_statement_opens_no_file(tmp_path: Path, before: str, statement: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "schema.sql").write_text("of_somebody_else")
    with pytest.raises(ShoplakeError) as there:
        check_reading(before + statement.format(folder))
    with pytest.raises(ShoplakeError) as missing:
        check_reading(before + statement.format(tmp_path / "b"))
    assert "of_somebody_else" not in str(there.value)
    assert str(there.value).replace(str(folder), "") == str(missing.value).replace(str(tmp_path / "b"), "")


@pytest.mark.parametrize("kind", ["VARIANT", "variant[]", "STRUCT(a VARIANT)"])
def test_no_type_is_made_of_json_that_is_deep(kind: str) -> None:
    with pytest.raises(UsageError, match="VARIANT is not allowed"):
        check_reading(f"SELECT try_cast(extra::JSON AS {kind}) FROM silver.events")


DEEP = """
import duckdb, sys
connection = duckdb.connect(config={"threads": 1})
for deep in ("repeat('[', 500000) || repeat(']', 500000)", "repeat('{\\"a\\":', 170000) || '1' || repeat('}', 170000)"):
    connection.execute(f"CREATE OR REPLACE TABLE t AS SELECT {deep} AS a")
    for name in sys.argv[1:]:
        print(name, flush=True)
        for given in ("a", "a::JSON", "a, a", "a, '$.a'", "a, '[\\"JSON\\"]'"):
            try:
                connection.execute(f"SELECT {name}({given}) FROM t").fetchall()
            except duckdb.Error:
                pass
"""


def test_no_json_is_too_deep() -> None:
    """Events may be: a function that goes through them by recursion takes the process down."""
    # Only one that reads a type from its second parameter, from_json, does, and there nobody uses an event; json_pretty
    # takes long.
    names = sorted(name for name in ALLOWED if "json" in name and name != "json_pretty" and not TYPED.match(name))
    assert len(names) > 15
    done = subprocess.run([sys.executable, "-c", DEEP, *names], capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, f"DuckDB ends in {done.stdout.split()[-1]!r}"


def test_a_deep_statement_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        check_reading("SELECT " + "+".join(["1"] * 900))
