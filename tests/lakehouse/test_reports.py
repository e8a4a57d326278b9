import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.reports import age, read_report, replace_text, write_report


def test_a_report_says_whose_it_is_and_how_old(tmp_path: Path) -> None:
    file = tmp_path / "run" / "part.json"
    write_report(file, state="running", rows=3)
    found = read_report(file)
    assert (found["state"], found["rows"], found["pid"]) == ("running", 3, os.getpid())
    assert 0 <= age(found) < 60
    assert [path.name for path in file.parent.iterdir()] == ["part.json"]


def test_two_threads_may_report_at_once(tmp_path: Path) -> None:
    file = tmp_path / "part.json"
    with ThreadPoolExecutor(max_workers=4) as threads:
        for written in [threads.submit(write_report, file, rows=rows) for rows in range(2000)]:
            written.result()
    assert [path.name for path in tmp_path.iterdir()] == ["part.json"]


@pytest.mark.parametrize("text", ["", "[1]", '{"state":', "null"])
def test_what_is_no_report_says_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "part.json"
    assert read_report(file) == {}
    file.write_text(text)
    assert read_report(file) == {}


@pytest.mark.parametrize("report", [{}, {"updated_at": None}, {"updated_at": "yesterday"}])
def test_a_report_without_its_time_is_infinitely_old(report: dict[str, object]) -> None:
    assert math.isinf(age(report))


def test_a_secret_is_for_this_user_alone_also_when_a_crash_left_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    (tmp_path / f"secret.{os.getpid()}.new").write_text("left")
    replace_text(file, json.dumps("x"), mode=0o600)
    assert file.read_text() == '"x"' and file.stat().st_mode & 0o777 == 0o600
