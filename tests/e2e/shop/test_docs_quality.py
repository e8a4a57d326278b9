"""The commands of docs/how-to/quality.md run as they stand."""

import shlex

import pytest

from tests.support import pages
from tests.support.shop import Shop, shoplake

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

COMMANDS = [line.removeprefix("shoplake ") for block in pages.marked(__file__) for line in block.commands]


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("arguments", COMMANDS)
def test_documented_command_works(shop: Shop, arguments: str) -> None:
    done = shoplake(shop, *shlex.split(arguments))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
