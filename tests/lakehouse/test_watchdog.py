"""No question takes its process down, by time or by memory."""

import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import duckdb
import pytest

from lakehouse.errors import ShoplakeError
from lakehouse.services.service import PROJECT_ROOT
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


def test_no_late_interrupt_meets_the_next_statement() -> None:
    with duckdb.connect() as connection:
        interrupts, ended = list[bool](), list[bool]()

        class Late:
            def interrupt(self) -> None:
                time.sleep(0.3)  # the call ends meanwhile
                interrupts.append(bool(ended))
                connection.interrupt()

        with Watchdog(Late(), 0.1).watching():  # type: ignore[arg-type]  # the one method that it needs
            time.sleep(0.2)
        ended.append(True)
        assert connection.execute("SELECT count(*) FROM range(100000000)").fetchall() == [(100_000_000,)]
        time.sleep(0.4)
    assert interrupts == [False]


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


@pytest.mark.parametrize(
    ("road", "asked"),
    [("--live", ENDLESS), ("--format=csv", "SELECT x FROM range(1000000000000) AS a(x) WHERE x % 7 = 8")],
)
def test_ctrl_c_ends_the_command_like_any_other(tmp_path: Path, road: str, asked: str) -> None:
    sample_serving.publish(Settings(data_dir=tmp_path).serving_file)
    program = """
        import os, signal, threading
        from lakehouse import watchdog
        from lakehouse.cli import main
        watching = watchdog.Watchdog.watching
        def watched(self):
            watchdog.Watchdog.watching = watching
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            return watching(self)
        watchdog.Watchdog.watching = watched
        main()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), "sql", road, asked]
    environment = {**os.environ, "SHOPLAKE_DATA_DIR": str(tmp_path), "PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count memory by this limit")
def test_a_text_that_fills_the_memory_fails_alone() -> None:
    asked = r"""
        import duckdb, pathlib, re
        from lakehouse import watchdog
        watchdog.SPARE_MB = 256  # less is sooner full
        watchdog.limit_memory(256)
        connection = duckdb.connect(config={"memory_limit": "256MB", "threads": 2})
        try:
            connection.execute("SELECT length(lpad('', 2000000000, 'x'))").fetchall()
        except duckdb.OutOfMemoryException:
            print("refused")
        print(connection.execute("SELECT 42").fetchone()[0])
        # Not ru_maxrss: it begins with what the parent had.
        peak = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
        print(int(peak) < 700 * 1024)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(asked)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["refused", "42", "True"], done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count memory by this limit")
def test_what_needs_too_much_memory_is_told_so(tmp_path: Path) -> None:
    asked = """
        import duckdb, sys
        from pathlib import Path
        from lakehouse import watchdog
        from lakehouse.errors import ShoplakeError
        from lakehouse.serving import file
        from lakehouse.serving.reader import ServingReader
        file.LOCKED["threads"] = 1  # of several, one that begins when all memory is taken ends the process
        watchdog.SPARE_MB = 256
        watchdog.limit_memory(256)
        for question in ("SELECT entropy(range) FROM range(1000000000)", f"SELECT row({'1, ' * 200000}1)"):
            try:
                ServingReader(Path(sys.argv[1])).query(question)
            except ShoplakeError as error:
                print(error)
    """
    duckdb.connect(str(tmp_path / "serving.duckdb")).close()
    command = [sys.executable, "-c", textwrap.dedent(asked), str(tmp_path / "serving.duckdb")]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ["memory" in line for line in done.stdout.splitlines()] == [True, True], done


SPILLING = """
import sys
from pathlib import Path
from lakehouse.serving import file
file.LOCKED.update(memory_limit="40MB", threads=1)
sorted_out = "SELECT count(*) FROM (SELECT range AS r, md5(range::VARCHAR) AS m FROM range(1000000) ORDER BY m)"
with file.open_with_moments(Path(sys.argv[1])) as connection:
    connection.execute("CREATE TEMP TABLE t AS " + sorted_out.replace("count(*)", "*"))
    for _ in range(3):
        found = connection.execute("SELECT count(*) FROM t WHERE m = md5(r::VARCHAR)").fetchone()
        assert found == (1000000,), found
print("as it was")
"""


def test_questions_that_need_the_disk_at_once_do_not_meet_there(tmp_path: Path) -> None:
    """With one folder for both, both processes crash."""
    file = tmp_path / "serving.duckdb"
    duckdb.connect(str(file)).close()
    command = [sys.executable, "-c", SPILLING, str(file)]
    both = [subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    assert [one.communicate()[0].endswith(b"as it was\n") for one in both] == [True, True]


def test_what_a_killed_process_left_on_the_disk_is_deleted(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    left, mine = tmp_path / f"spilled-{gone.pid}-x", tmp_path / f"spilled-{os.getpid()}-x"
    for folder in (left, mine):
        folder.mkdir()
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("u4711")
    with SqlReader(Settings(data_dir=tmp_path / "lake")):
        assert left.exists(), "of another lake"
    duckdb.connect(str(tmp_path / "serving.duckdb")).close()
    assert ServingReader(tmp_path / "serving.duckdb").query("SELECT 1 AS n") == [{"n": 1}]
    assert mine.exists() and not left.exists()
