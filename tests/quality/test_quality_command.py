"""`shoplake quality status` tells what fails whole, at any width. `quality override` takes no decision that names
nothing, gives no reason, or holds for long."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse.cli import app, quality
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lake import arrow_rows
from lakehouse.small_tables import SmallTables
from quality import results
from tests.support.memory_s3 import memory_lake
from tests.support.platform import free_settings

KNOWN = "gold.kpis_hourly.each_hour_once"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gold.kpis_hourly.nonsense", "--for", "2h", "--reason", "why"], "no expectation 'gold.kpis_hourly.nonsense'"),
        ([KNOWN, "--for", "2h", "--reason", " "], "--reason must say why."),
        *(([KNOWN, "--for", length, "--reason", "why"], "a week at most") for length in ("8d", "169h")),
        *(
            ([KNOWN, "--for", length, "--reason", "why"], "--for is a number with a unit")
            for length in ("0m", "2", "", "9999999d", "999999w")
        ),
    ],
)
def test_what_is_no_decision_is_refused_with_a_sentence(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["quality", "override", *arguments])
    assert isinstance(done.exception, UsageError) and done.exception.exit_code == 2
    assert said in str(done.exception) and "\n" not in str(done.exception)


@pytest.mark.parametrize("arguments", [[KNOWN, "--for", "2h"], [KNOWN, "--reason", "why"], []])
def test_a_decision_without_its_length_or_reason_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["quality", "override", *arguments]).exit_code == 2


def test_a_decision_is_written_down_without_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decision = ["quality", "override", KNOWN, "--for", "2h", "--reason", " known, being fixed "]
    with memory_lake(tmp_path) as settings:
        monkeypatch.setattr(quality, "load_settings", lambda: settings)
        for _ in range(2):  # the first one makes the table
            assert CliRunner().invoke(app, decision, catch_exceptions=False).exit_code == 0
        rows = SmallTables(settings).read(results.OVERRIDES).to_pylist()
    assert [(row["expectation"], row["reason"]) for row in rows] == [(KNOWN, "known, being fixed")] * 2
    assert all((row["expires_at"] - row["decided_at"]).total_seconds() == 7200 for row in rows)


def test_where_nobody_keeps_a_decision_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "load_settings", lambda: free_settings(tmp_path))
    done = CliRunner().invoke(app, ["quality", "override", KNOWN, "--for", "2h", "--reason", "why"])
    assert isinstance(done.exception, ShoplakeError) and "S3 does not answer" in str(done.exception)


def test_what_fails_is_told_whole_on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    with memory_lake(tmp_path) as settings:
        monkeypatch.setattr(quality, "load_settings", lambda: settings)
        tables = SmallTables(settings)
        for table in (results.TABLE, results.OVERRIDES):
            tables.create(table)
        row = ("run", now, "gold.kpis_hourly", KNOWN, "block", False, None, "An hour has one row.", "full")
        tables.append(results.TABLE, arrow_rows(results.TABLE, [row]))
        done = CliRunner().invoke(app, ["quality", "status"], env={"COLUMNS": "80"})
    assert done.exit_code == 1
    assert f"{KNOWN} (block) does not hold: An hour has one row." in done.stdout
    assert f"Checked {now:%Y-%m-%d %H:%M} (UTC)." in done.stdout
