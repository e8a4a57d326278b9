"""The questions of docs/sql.md about published tables are answered from the serving file, with rows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.embedded.testing import free_settings
from lakehouse.serving_reader import reader_for
from lakehouse.settings import Settings
from tests.support import sample_serving

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Ten questions")[1].split("\n## ")[0]
QUESTIONS = re.findall(r"^\d+\. (.*?)\n```sql\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = free_settings(tmp_path_factory.mktemp("serving"))
    made.serving_file.parent.mkdir(parents=True)
    sample_serving.publish(made.serving_file)
    yield made


def test_there_are_ten() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize(("question", "statement"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_question_is_answered(settings: Settings, question: str, statement: str) -> None:
    reader = reader_for(settings, statement)
    assert reader is not None and reader.query(statement)
