"""The documents' commands run as they stand, one block after the other, on a platform that has some history."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lakehouse.services.detached import start_detached, stop
from lakehouse.services.service import child_environment
from lakehouse.serving.reader import Answers
from lakehouse.settings import Settings
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support import pages
from tests.support.pages import ROOT, Block
from tests.support.platform import free_settings
from tests.support.receiver import Receiver
from tests.support.shop import DAY_MS, Shop

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
STARTS = [block for block in pages.marked(__file__) if block.page == "README.md"]
OTHERS = sorted(
    (block for block in pages.marked(__file__) if block.page != "README.md"),
    key=lambda block: block.page == "docs/how-to/producing.md",  # the last: the stream is behind for a while afterwards
)
LONG_SECONDS = 15
"""For a command that goes on until it is told to end."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = free_settings(tmp_path_factory.mktemp("docs"))
    yield made
    stop(made)


@pytest.fixture(scope="module")
def environment(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**child_environment(settings), **pages.programs(tmp_path_factory.mktemp("bin"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader types the commands, with the files that they name."""
    made = tmp_path_factory.mktemp("here")
    shutil.copy(ROOT / "tests" / "data" / "rees46-sample.csv", made / "events.csv")
    (made / "questions.sql").write_text("SELECT count(*) FROM silver.events;\n")
    return made


@pytest.fixture(scope="module")
def shop(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The platform with records of every kind, among them those that the pages speak of."""
    start_detached(settings, lambda _snapshot: None)
    made = Shop(settings, tmp_path_factory.mktemp("sent"))
    history = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=51, history_ms=3 * DAY_MS, history_events=6_000, malformed=0.05,
        harmless=0.02,
    )  # fmt: skip
    made.send(list(simulate(history)))
    made.wait_until_read(900)
    return made


@pytest.mark.parametrize("block", STARTS, ids=str)
def test_from_the_start_to_the_end(block: Block, settings: Settings, environment: dict[str, str], folder: Path) -> None:
    assert block.commands[0] == "make up" and block.commands[-1] == "make down"
    said = pages.run(block.text, environment, folder)
    assert "silver.events" in said and "cohort_retention" in said


@pytest.mark.parametrize("block", OTHERS, ids=str)
def test_with_everything_running(block: Block, shop: Shop, environment: dict[str, str], folder: Path) -> None:
    for command in block.commands:
        if "127.0.0.1:9009" in command:
            with closing(Receiver()) as receiver:
                pages.run(command.replace("http://127.0.0.1:9009/", receiver.url), environment, folder)
                assert receiver.accepted
        elif command == "shoplake sql":  # a terminal is what tests/lakehouse/cli/test_sql_session.py has
            pages.run(f"{command} < questions.sql", environment, folder)
        elif command.endswith("--live"):
            run_for_a_while(command, environment, folder)
        else:
            assert pages.run(command, environment, folder).strip() or command.startswith("shoplake produce"), command


def test_every_query_of_the_page_shows_rows(shop: Shop) -> None:
    """After the page's own steps, which have just been run with the other blocks."""
    shop.wait_until_read(900)
    page = (ROOT / "docs" / "how-to" / "sql.md").read_text(encoding="utf-8")
    answers = Answers(shop.settings)
    for statement in re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        assert list(answers.stream(statement).rows), statement


def run_for_a_while(command: str, environment: dict[str, str], folder: Path) -> None:
    """Ctrl-C after some seconds, as a person would."""
    process = subprocess.Popen(["bash", "-c", f"exec {command}"], env={**os.environ, **environment}, cwd=folder)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(LONG_SECONDS)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 130)
