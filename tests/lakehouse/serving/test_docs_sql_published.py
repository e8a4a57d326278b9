"""The questions of docs/how-to/sql.md about published tables are answered from the serving file, with rows."""

import io
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lakehouse.errors import ShoplakeError
from lakehouse.serving import sql_output
from lakehouse.serving.reader import Answers, reader_for
from lakehouse.settings import Settings
from tests.support import sample_serving
from tests.support.platform import free_settings

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "sql.md").read_text(encoding="utf-8")
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


def test_a_moment_has_its_zone_and_a_local_time_has_none(settings: Settings) -> None:
    statement = """SELECT hour_start,
        hour_start AT TIME ZONE 'Europe/Berlin' AS berlin, max(updated_at) OVER () AS newest,
        [timezone('Asia/Kolkata', hour_start)] AS there
        FROM gold.kpis_hourly ORDER BY hour_start LIMIT 1"""
    reader = reader_for(settings, statement)
    assert reader is not None
    out = io.StringIO()
    sql_output.write_json(reader.stream(statement), out)
    (row,) = json.loads(out.getvalue())
    moment = datetime.fromisoformat(row["hour_start"])
    assert (row["hour_start"][-1], row["newest"][-1], moment.utcoffset()) == ("Z", "Z", timedelta(0))
    assert row["berlin"] == moment.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None).isoformat()
    assert row["there"] == [moment.astimezone(ZoneInfo("Asia/Kolkata")).replace(tzinfo=None).isoformat()]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("FROM events", "There is no table events; did you mean silver.events or bronze.events?"),
        ("SELECT revenue FROM gold.top_products_hourly", "a column revenue in gold.revenue_hourly, gold.kpis_hourly."),
        ("SELECT timestamp FROM gold.kpis_hourly", "In silver.events, timestamp is called event_time."),
    ],
)
def test_what_is_elsewhere_is_proposed(settings: Settings, statement: str, said: str) -> None:
    with pytest.raises(ShoplakeError) as failed:
        Answers(settings).stream(statement)
    assert str(failed.value).endswith(said)


def test_no_rows_come_with_how_old_the_answer_is(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    answers = Answers(settings)
    assert list(answers.stream("FROM gold.cohort_retention LIMIT 1").rows)
    assert capsys.readouterr().err == ""
    assert not list(answers.stream("FROM gold.cohort_retention WHERE cohort_size < 0").rows)
    said = capsys.readouterr().err
    assert re.fullmatch(r"No rows in what was published at \d\d:\d\d:\d\d UTC; --live asks the lake itself\.\n", said)


def test_when_a_table_was_published_is_a_moment(settings: Settings) -> None:
    reader = reader_for(settings, "FROM _published")
    assert reader is not None
    assert {row["published_at"].utcoffset() for row in reader.query("FROM _published")} == {timedelta(0)}
