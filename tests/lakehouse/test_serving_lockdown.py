"""Nobody gets out of the serving file: every attempt is refused, by the guard and by the locked file itself."""

import runpy
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import make_url

from lakehouse.errors import ShoplakeError
from lakehouse.serving_file import LOCKED, open_serving
from lakehouse.serving_reader import FORBIDDEN, ServingReader

MARKER = "a-secret-of-this-machine"
# {secret} is a text file with MARKER, {folder} its folder, {other} another database with MARKER in it.
ESCAPES = [
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}', header = false)",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_json_auto('{secret}')",
    "SELECT * FROM read_json_objects('{secret}')",
    "SELECT * FROM read_ndjson_objects('{secret}')",
    "SELECT * FROM read_parquet('{folder}/*.parquet')",
    "SELECT * FROM parquet_metadata('{folder}/a.parquet')",
    "SELECT * FROM parquet_schema('{folder}/a.parquet')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "SELECT * FROM '{folder}/a.parquet'",
    "SELECT * FROM '{folder}/*.csv'",
    "FROM 'https://example.invalid/a.csv'",
    "SELECT * FROM read_csv('https://example.invalid/a.csv')",
    "SELECT * FROM read_text('s3://bucket/secret')",
    "SELECT * FROM delta_scan('s3://bucket/table')",
    "SELECT * FROM 'file://{secret}'",
    "SELECT * FROM sqlite_scan('{other}', 't')",
    "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')",
    "SELECT * FROM iceberg_scan('{folder}')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('gold.kpis')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('s3://bucket', 's3')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_extensions()",
    "SELECT getenv('HOME')",
    "SELECT current_setting('secret_directory')",
    "SELECT json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "COPY gold.kpis TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.parquet' (FORMAT parquet)",
    "COPY gold.kpis FROM '{secret}'",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}/out'",
    "ATTACH '{other}' AS other",
    "ATTACH '{other}' AS other (READ_ONLY)",
    "ATTACH ':memory:' AS memory_only",
    "DETACH serving",
    "USE memory",
    "INSTALL httpfs",
    "INSTALL spatial FROM community",
    "LOAD httpfs",
    "LOAD '{folder}/evil.duckdb_extension'",
    "UPDATE EXTENSIONS",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "DROP SECRET s",
    "SET enable_external_access = true",
    "SET GLOBAL enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['{secret}']",
    "SET temp_directory = '{folder}/temp'",
    "SET log_query_path = '{folder}/log'",
    "SET secret_directory = '{folder}'",
    "SET memory_limit = '100GB'",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "PRAGMA profiling_output = '{folder}/profile.json'",
    "PRAGMA import_database('{folder}')",
    "CALL pragma_database_size()",
    "CREATE TABLE gold.mine AS SELECT 1",
    "CREATE TEMP TABLE mine AS SELECT * FROM read_text('{secret}')",
    "CREATE MACRO m() AS TABLE SELECT * FROM read_text('{secret}')",
    "INSERT INTO gold.kpis VALUES (1)",
    "UPDATE gold.kpis SET clicks = 0",
    "DELETE FROM gold.kpis",
    "DROP TABLE gold.kpis",
    "ALTER TABLE gold.kpis ADD COLUMN x INT",
    "COMMENT ON TABLE gold.kpis IS 'x'",
    "SELECT 1; SELECT * FROM read_text('{secret}')",
    "SELECT 1; SET lock_configuration = false; SELECT 2",
    "WITH t AS (SELECT * FROM read_text('{secret}')) SELECT * FROM t",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
    "SELECT * FROM gold.kpis WHERE 1 IN (SELECT length(content) FROM read_text('{secret}'))",
    "SELECT * FROM \"read_text\"('{secret}')",
    "SELECT * FROM Read_Text /* */ ('{secret}')",
    "DESCRIBE SELECT * FROM read_csv('{secret}')",
    "SUMMARIZE '{secret}'",
    "SUMMARIZE SELECT * FROM read_text('{secret}')",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serving") / "serving.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA gold; CREATE TABLE gold.kpis AS SELECT 1 AS clicks")
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret.csv").write_text(MARKER)
    with duckdb.connect(str(folder / "other.duckdb")) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT '{MARKER}' AS content")
        connection.execute(f"COPY t TO '{folder / 'a.parquet'}' (FORMAT parquet)")
    return {"secret": f"{folder}/secret.csv", "other": f"{folder}/other.duckdb", "folder": str(folder)}


def test_there_are_enough_attempts() -> None:
    assert len(set(ESCAPES)) >= 50


@pytest.mark.parametrize("attempt", ESCAPES)
def test_the_reader_refuses_in_one_sentence(file: Path, places: dict[str, str], attempt: str) -> None:
    with pytest.raises(ShoplakeError) as refused:
        ServingReader(file).query(attempt.format(**places))
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")
    assert MARKER not in str(refused.value)


@pytest.mark.parametrize("attempt", ESCAPES)
def test_the_locked_file_itself_gives_nothing_away(file: Path, places: dict[str, str], attempt: str) -> None:
    before, outside = file.read_bytes(), sorted(Path(places["folder"]).rglob("*"))
    with open_serving(file) as connection:
        try:
            found = repr(connection.execute(attempt.format(**places)).fetchall())
        except duckdb.Error:
            found = ""
        assert MARKER not in found
        assert connection.execute("SELECT current_setting('enable_external_access')").fetchone() == (False,)
    assert file.read_bytes() == before
    assert sorted(Path(places["folder"]).rglob("*")) == outside


def test_reading_works(file: Path) -> None:
    assert ServingReader(file).query("SELECT clicks, now() > '2020-01-01' AS later FROM gold.kpis") == [
        {"clicks": 1, "later": True}
    ]


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Superset's configuration, as it reads it."""
    (tmp_path / "secret.key").write_text("x")
    monkeypatch.setenv("SUPERSET_HOME", str(tmp_path))
    monkeypatch.setenv("SHOPLAKE_SERVING_FILE", "/lake/serving.duckdb")
    return runpy.run_path(str(Path(__file__).parents[2] / "superset" / "superset_config.py"))


@pytest.mark.parametrize(
    "typed", ["duckdb:///:memory:", "duckdb:////etc/passwd", "duckdb:///x.duckdb?access_mode=read_write"]
)
def test_whatever_an_administrator_types_duckdb_opens_the_published_file_locked(
    configuration: dict[str, Any], typed: str
) -> None:
    given = {"connect_args": {"read_only": False, "config": {"enable_external_access": "true"}}}
    uri, params = configuration["DB_CONNECTION_MUTATOR"](make_url(typed), given, "admin", None, None)
    assert str(uri) == "duckdb:////lake/serving.duckdb"
    assert params["connect_args"] == {"read_only": True, "config": {**LOCKED, "lock_configuration": "true"}}
    other = make_url("postgresql://somewhere/db")
    assert configuration["DB_CONNECTION_MUTATOR"](other, given, "admin", None, None) == (other, given)


def test_superset_refuses_the_same_functions(configuration: dict[str, Any]) -> None:
    assert configuration["DISALLOWED_SQL_FUNCTIONS"]["duckdb"] == set(FORBIDDEN)
