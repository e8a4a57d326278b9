"""Nobody gets out of the serving file: every attempt is refused, by the guard and by the locked file itself."""

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from sqlalchemy import make_url

from lakehouse.errors import ShoplakeError
from lakehouse.serving.file import LOCKED, open_serving, open_with_moments
from lakehouse.serving.reader import ServingReader
from tests.support.escapes import ESCAPES, MARKER


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


def test_what_needs_more_than_memory_goes_beside_the_file_and_fills_no_disk(file: Path) -> None:
    asked = "SELECT current_setting('temp_directory'), current_setting('max_temp_directory_size')"
    for opened in (open_serving, open_with_moments):
        with opened(file) as connection:
            folder, most = connection.execute(asked).fetchall()[0]
            assert Path(folder).parent == file.parent and most == "3.7 GiB"


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
    return runpy.run_path(str(Path(__file__).parents[3] / "superset" / "superset_config.py"))


@pytest.mark.parametrize(
    "typed", ["duckdb:///:memory:", "duckdb:////etc/passwd", "duckdb:///x.duckdb?access_mode=read_write"]
)
def test_whatever_an_administrator_types_duckdb_opens_the_published_file_locked(
    configuration: dict[str, Any], typed: str
) -> None:
    given = {"connect_args": {"read_only": False, "config": {"enable_external_access": "true"}}}
    uri, params = configuration["DB_CONNECTION_MUTATOR"](make_url(typed), given, "admin", None, None)
    assert str(uri) == "duckdb:////lake/serving.duckdb"
    spilled = f"/lake/spilled-{os.getpid()}-superset"
    config = {**LOCKED, "lock_configuration": "true", "temp_directory": spilled}
    assert params["connect_args"] == {"read_only": True, "config": config}
    other = make_url("postgresql://somewhere/db")
    assert configuration["DB_CONNECTION_MUTATOR"](other, given, "admin", None, None) == (other, given)


def test_superset_asks_the_same_check(configuration: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Exception):
        """As Superset names what it shows to who asked; Superset itself is not in this environment."""

    monkeypatch.setitem(sys.modules, "superset.exceptions", SimpleNamespace(QueryObjectValidationError=Refused))
    checked = configuration["SQL_QUERY_MUTATOR"]
    sql = "SELECT lower(x) FROM gold.kpis"
    assert checked(sql, database=None) == sql
    with pytest.raises(Refused, match="glob is not allowed"):
        checked("SELECT * FROM glob('/*')")
    with pytest.raises(Refused, match="read-only"):
        checked("SET threads = 1")
