"""`shoplake sql` on a terminal: typed statements, what is completed, and what is paged."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from lakehouse import sql_guard
from lakehouse.embedded.service import PROJECT_ROOT
from lakehouse.embedded.testing import free_settings
from lakehouse.settings import Settings
from lakehouse.sql_answers import Answers
from lakehouse.sql_completion import Names, SqlCompleter
from lakehouse.sql_shell import ROWS, Shell, is_complete, kept_history, prompt_session, table_shower
from tests.support import sample_serving

Type = Callable[[str], str]


@pytest.fixture(scope="module")
def names() -> Names:
    return Names()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = free_settings(tmp_path_factory.mktemp("shell"))
    made.serving_file.parent.mkdir(parents=True)
    sample_serving.publish(made.serving_file)
    return made


@pytest.fixture
def type_in(settings: Settings, names: Names) -> Type:
    """What a session prints when these keys are typed, and then Ctrl-D."""

    def answer(keys: str) -> str:
        said = StringIO()
        console = Console(file=said, width=120, height=60)
        with create_pipe_input() as keyboard, Answers(settings) as answers:
            keyboard.send_text(keys + "\x04")
            session = prompt_session(InMemoryHistory(), names, keyboard, DummyOutput())
            Shell(answers, console, table_shower(console, ROWS), names, session).run()
        return said.getvalue()

    return answer


def test_statements_are_answered_one_after_another(type_in: Type) -> None:
    said = type_in("select 6 * 7 as answer; select rank, product_name from gold.top_products_last_hour;\r")
    assert "42" in said and "A lamp" in said


def test_a_statement_may_take_several_lines(type_in: Type) -> None:
    assert "42" in type_in("select 6\r* 7\ras answer;\r")


def test_an_error_is_one_sentence_and_the_session_goes_on(type_in: Type) -> None:
    said = type_in("drop table gold.kpis_hourly;\rselect nonsense from gold.kpis_hourly;\rselect 'still here' as x;\r")
    assert "still here" in said and "Traceback" not in said
    assert said.lower().count("only") >= 1 and "nonsense" in said


def test_tables_and_columns_are_described(type_in: Type) -> None:
    assert "gold.kpis_hourly" in type_in("\\d\r")
    assert "conversion_rate" in type_in("\\d gold.kpis_hourly\r")
    assert "gold.kpis_hourly" in type_in("\\d gold.kpi_hourly\r"), "a near miss is told the right name"


def test_leaving_takes_one_word(type_in: Type) -> None:
    assert "42" not in type_in("exit\rselect 42;\r")


def test_long_answers_are_paged(type_in: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", f"tee {tmp_path}/paged")
    type_in("select hour_start, rank from gold.top_products_hourly;\r")
    assert (tmp_path / "paged").read_text().count("\n") > 100
    type_in("select 1;\r")
    assert (tmp_path / "paged").read_text().count("\n") > 100, "a short one is not"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("sel", "SELECT"),
        ("select * from gold.top", "gold.top_products_hourly"),
        ("select * from kpis", "gold.kpis_hourly"),
        ("select conv| from gold.kpis_hourly", "conversion_rate"),
        ("select silver.eve", "silver.events"),
    ],
)
def test_names_are_completed(names: Names, typed: str, offered: str) -> None:
    cursor = typed.index("|") if "|" in typed else len(typed)
    document = Document(typed.replace("|", ""), cursor)
    found = [one.text for one in SqlCompleter(names).get_completions(document, CompleteEvent())]
    assert offered in found


def test_nothing_is_completed_inside_a_text(names: Names) -> None:
    document = Document("select * from gold.kpis_hourly where x = 'sel")
    assert not list(SqlCompleter(names).get_completions(document, CompleteEvent()))


@pytest.mark.parametrize(
    ("typed", "is_whole"),
    [("select 1;", True), ("select 1", False), ("select ';", False), ("exit", True), ("\\d", True), ("", True)],
)
def test_enter_runs_what_is_complete(typed: str, is_whole: bool) -> None:
    assert is_complete(typed) is is_whole


def test_statements_are_parted_at_semicolons_outside_of_texts() -> None:
    assert sql_guard.statements("select ';'; ; -- a; b\nselect 2") == ["select ';'", " -- a; b\nselect 2"]


def test_history_is_kept_for_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    kept_history().append_string("select 1;")
    assert list(kept_history().load_history_strings()) == ["select 1;"]
    assert (tmp_path / "shoplake" / "sql_history").stat().st_mode & 0o777 == 0o600


def test_the_published_file_is_read_as_the_page_says(settings: Settings) -> None:
    page = (PROJECT_ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (block,) = (text for text in blocks if "serving.duckdb" in text)
    block = block.replace(".shoplake/serving/serving.duckdb", str(settings.serving_file))
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "page_views" in done.stdout and "card_testing" in done.stdout
