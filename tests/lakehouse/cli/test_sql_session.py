"""`shoplake sql` on a terminal: DuckDB's prompt over the published file, which reaches nothing else."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lakehouse import sql_guard
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.settings import Settings
from tests.support import sample_serving
from tests.support.platform import free_settings

SECONDS = 20
WHAT_ARE_YOU, A_DARK_TERMINAL = "\x1b[c", "\x1b]11;rgb:0000/0000/0000\x07\x1b[?6c"
PROMPT = " D "


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = free_settings(tmp_path_factory.mktemp("session"))
    made.serving_file.parent.mkdir(parents=True)
    sample_serving.publish(made.serving_file)
    return made


def typed(keys: str, folder: Path, *options: str) -> str:
    """What a terminal shows when these lines are typed into the prompt, and then `.exit`."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (50, 160))
    environment = {**os.environ, "SHOPLAKE_DATA_DIR": str(folder), "HOME": str(folder), "TERM": "xterm"}
    command = [sys.executable, "-m", "lakehouse.cli", "sql", *options]
    session = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder)
    os.close(theirs)
    said, answers = "", {WHAT_ARE_YOU: A_DARK_TERMINAL, PROMPT: f"{keys}\n.exit\n".replace("\n", "\r")}
    while select.select([ours], [], [], SECONDS)[0]:
        try:
            said += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # the terminal has no other end any more
            break
        for question in [one for one in answers if one in said]:
            os.write(ours, answers.pop(question).encode())
    session.kill()
    session.wait()
    os.close(ours)
    return said


def test_statements_are_answered_and_errors_end_nothing(settings: Settings) -> None:
    said = typed(
        "select 6 * 7 as answer;\nselect nonsense from gold.kpis_hourly;\n"
        "select product_name from gold.top_products_last_hour;\nselect current_setting('TimeZone') as zone;",
        settings.data_dir,
    )
    assert "42" in said and "nonsense" in said and "A lamp" in said and "UTC" in said


REFUSALS = {
    "drop table gold.kpis_hourly;": "read-only",
    "select * from read_text('/etc/passwd');": "disabled",
    "attach 'other.db';": "disabled",
    "copy (select 1) to 'stolen.csv';": "disabled",
    "set enable_external_access = true;": "locked",
    ".shell touch stolen.csv": "safe",
    ".output stolen.csv": "safe",
    ".open other.db": "safe",
}


def test_the_prompt_reads_the_published_file_and_reaches_nothing_else(settings: Settings) -> None:
    said = typed("\n".join(f"{each}\nselect 'still ' || 'here' as x;" for each in REFUSALS), settings.data_dir)
    answers = said.split("still here")[:-1]
    assert len(answers) == len(REFUSALS) and "root:" not in said
    for answer, (statement, refusal) in zip(answers, REFUSALS.items(), strict=True):
        assert refusal in answer, statement
    assert not (settings.data_dir / "stolen.csv").exists() and not (settings.data_dir / "other.db").exists()


def test_the_prompt_has_the_formats_of_the_command(settings: Settings) -> None:
    assert '[{"answer":42}]' in typed("select 6 * 7 as answer;", settings.data_dir, "--format", "json")


def test_without_a_published_file_it_is_one_sentence(tmp_path: Path) -> None:
    assert typed("", tmp_path).strip().splitlines()[-1].endswith("`shoplake up` publishes gold.")
    assert "give --live a query" in typed("", tmp_path, "--live")


def test_statements_are_parted_at_semicolons_outside_of_texts() -> None:
    assert sql_guard.statements("select ';'; ; -- a; b\nselect 2") == ["select ';'", " -- a; b\nselect 2"]


def test_the_published_file_is_read_as_the_page_says(settings: Settings) -> None:
    page = (PROJECT_ROOT / "docs" / "how-to" / "sql.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (block,) = (text for text in blocks if "serving.duckdb" in text)
    block = block.replace(".shoplake/serving/serving.duckdb", str(settings.serving_file))
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "page_views" in done.stdout and "card_testing" in done.stdout
