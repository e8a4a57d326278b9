"""No question takes its process down, by time or by memory."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import duckdb
import pytest

from lakehouse.errors import ShoplakeError
from lakehouse.serving.newest import NewestPublish
from lakehouse.serving.reader import Answers, ServingReader
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from lakehouse.watchdog import Watchdog
from tests.support import sample_serving

ENDLESS = "SELECT count(*) AS n FROM range(1000000000000) AS a(x) WHERE x % 7 = 8"
TOO_LONG = r"ended: it took more than 0\.3 seconds\.$"


def test_a_question_of_the_lake_that_never_ends_is_ended(tmp_path: Path) -> None:
    with SqlReader(Settings(data_dir=tmp_path), seconds=0.3) as reader:
        with pytest.raises(ShoplakeError, match=TOO_LONG):
            reader.query(ENDLESS)
        assert reader.query("SELECT 42 AS n") == [{"n": 42}]


def test_people_have_ten_minutes_and_jobs_have_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.serving.reader.SECONDS", 0.3)
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(ShoplakeError, match=TOO_LONG):
        list(Answers(settings, live=True).stream(ENDLESS).rows)
    with SqlReader(settings) as reader:
        assert reader.query("SELECT count(*) AS n FROM range(300000000) AS a(x) WHERE x % 7 = 8") == [{"n": 0}]


def test_a_question_of_the_published_file_that_never_ends_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "serving.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    reader = ServingReader(file, seconds=0.3)
    with pytest.raises(ShoplakeError, match=TOO_LONG):
        reader.query(ENDLESS)
    assert ServingReader(file).query("FROM t") == [{"n": 1}]


def test_a_question_over_http_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.serving.newest.SECONDS", 0.3)
    sample_serving.publish(tmp_path / "serving.duckdb")
    publish = NewestPublish(tmp_path / "serving.duckdb").get()
    with pytest.raises(ShoplakeError, match=TOO_LONG):
        publish.rows(ENDLESS)
    assert publish.rows("SELECT 42") == [(42,)]


def test_a_statement_that_begins_after_its_time_is_ended() -> None:
    with (
        duckdb.connect() as connection,
        pytest.raises(ShoplakeError, match=TOO_LONG),
        Watchdog(connection, 0.3).watching(),
    ):
        time.sleep(0.6)
        connection.execute(ENDLESS).fetchall()


def test_who_has_all_the_time_is_watched_by_no_thread() -> None:
    before = threading.active_count()
    with duckdb.connect() as connection, Watchdog(connection, math.inf).watching():
        assert threading.active_count() == before


def test_the_time_of_all_calls_counts() -> None:
    with duckdb.connect() as connection:
        watchdog = Watchdog(connection, 0.3)
        with watchdog.watching():
            connection.execute("SELECT 1")
        with pytest.raises(ShoplakeError, match=TOO_LONG), watchdog.watching():
            connection.execute(ENDLESS).fetchall()
        with pytest.raises(ShoplakeError, match=TOO_LONG), watchdog.watching():
            connection.execute(ENDLESS).fetchall()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count memory by this limit")
def test_a_text_that_fills_the_memory_fails_alone() -> None:
    asked = """
        import duckdb, resource
        from lakehouse.watchdog import limit_memory
        limit_memory(512)
        connection = duckdb.connect(config={"memory_limit": "512MB", "threads": 2})
        try:
            connection.execute("SELECT length(lpad('', 2000000000, 'x'))").fetchall()
        except duckdb.OutOfMemoryException:
            print("refused")
        print(connection.execute("SELECT 42").fetchone()[0])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 < 1700)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(asked)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["refused", "42", "True"], done.stderr
