"""`shoplake produce` from the outside, without a broker."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.errors import UsageError
from producer.record import from_line
from tests.support.command_line import shoplake

DATA = Path(__file__).parents[1] / "data"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["produce", *arguments], catch_exceptions=True)
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_file_is_written_the_same_again(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    options = ("--seed", "7", "--end", "2026-09-03T10:00:00Z", "--history", "3d", "--history-events", "800")
    assert "records written" in run(*options, "--to", str(one), "--truth", str(tmp_path / "truth.jsonl"))
    run(*options, "--to", str(other))
    assert one.read_bytes() == other.read_bytes()
    assert (tmp_path / "truth.jsonl").exists()
    assert all(from_line(line).topic for line in one.read_bytes().splitlines())


def test_files_of_a_day_are_equal_and_hold_nothing_that_is_yet_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = datetime(2026, 9, 3, tzinfo=UTC)
    files = []
    for hour in (1, 23):
        monkeypatch.setattr("time.time", lambda now=midnight + timedelta(hours=hour): now.timestamp())
        for name, options in {"history": ("--history", "2d"), "live": ("--live", "--duration", "30s")}.items():
            files.append(tmp_path / f"{name}-{hour}.jsonl")
            run("--seed", "7", "--history-events", "300", *options, "--to", str(files[-1]))
    assert files[0].read_bytes() == files[2].read_bytes() and files[1].read_bytes() == files[3].read_bytes()
    monkeypatch.setattr("time.time", (midnight + timedelta(minutes=5)).timestamp)
    long = tmp_path / "long.jsonl"
    run("--seed", "7", "--live", "--rate", "0.01", "--duration", "10h", "--malformed", "0", "--to", str(long))
    assert max(json.loads(line)["timestamp"] for line in long.read_bytes().splitlines()) < "2026-09-03T00:05"


def test_a_file_that_cannot_be_read_is_told_before_kafka_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPLAKE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    (tmp_path / "other.csv").write_text("a,b,c\n1,2,3\n")
    for name, said in {"missing.csv": "There is no file", "other.csv": "neither JSON"}.items():
        with pytest.raises(UsageError, match=said):
            run("--replay", str(tmp_path / name))


def test_the_shipped_sample_is_what_the_command_writes(tmp_path: Path) -> None:
    sample = tmp_path / "sample.jsonl"
    shares = ("--malformed", "0.04", "--harmless", "0.03", "--duplicates", "0.03", "--late", "0.02", "--fraud", "0.15")
    run(
        "--to", str(sample), "--start", "2026-09-03T10:00:00Z", "--rate", "10", "--count", "500", "--seed", "3", *shares
    )
    assert sample.read_bytes() == (DATA / "sample-events.jsonl").read_bytes()


def test_a_file_can_be_replayed_to_a_file(tmp_path: Path) -> None:
    run("--replay", str(DATA / "bare-events.jsonl"), "--to", str(tmp_path / "again.jsonl"))
    assert (tmp_path / "again.jsonl").read_bytes() == (DATA / "bare-events.jsonl").read_bytes()
    run("--replay", str(DATA / "bare-events.jsonl"), "--count", "2", "--to", str(tmp_path / "two.jsonl"))
    two = (tmp_path / "two.jsonl").read_bytes()
    assert two.count(b"\n") == 2 and (DATA / "bare-events.jsonl").read_bytes().startswith(two)
    events = [json.loads(line) for line in (DATA / "bare-events.jsonl").read_text().splitlines()]
    assert len(events) == 15 and not any("context" in event for event in events)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--history", "5x"), "unit"),
        (("--end", "yesterday"), "--end"),
        (("--to", "x.jsonl"), "--count or --duration"),
        (("--to", "x.jsonl", "--ledger", "l.jsonl"), "--ledger"),
        (("--shift-to-now",), "--replay"),
        (("--replay", "f.csv", "--live"), "--replay"),
        (("--start", "2026-09-03T10:00:00Z", "--end", "2026-09-02T10:00:00Z"), "before"),
        (("--malformed", "2"), "--malformed"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(*arguments)


@pytest.mark.parametrize("option", ["--to", "--truth", "--ledger"])
def test_a_file_that_cannot_be_written_is_one_sentence(option: str, tmp_path: Path) -> None:
    environment = {**os.environ, "SHOPLAKE_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    done = shoplake("produce", "--count", "1", option, str(tmp_path), environment=environment, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"shoplake: {tmp_path} cannot be used: Is a directory.\n"
