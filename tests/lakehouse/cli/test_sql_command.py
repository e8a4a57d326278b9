"""`shoplake sql` with a question: what it prints, and how it ends."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.errors import ShoplakeError
from tests.support import folder_lake
from tests.support.folder_s3 import FolderS3

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def lake_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    server = FolderS3(tmp_path_factory.mktemp("s3"))
    folder_lake.fill(server.folder / "shoplake")
    yield server.port
    server.close()


@pytest.fixture
def run(lake_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `shoplake sql …` and hands back its result."""
    monkeypatch.setenv("SHOPLAKE_S3_PORT", str(lake_port))
    monkeypatch.setenv("SHOPLAKE_DATA_DIR", str(tmp_path))
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


def test_a_question_loads_no_spark() -> None:
    loaded = "lakehouse.sql, lakehouse.serving.sql_output, lakehouse.cli.sql"
    check = f"import {loaded}, sys; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
