"""The commands of docs/quality.md run as they stand."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from tests.support import pages
from tests.support.shop import Shop, environment_of

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

COMMANDS = [line.removeprefix("shoplake ") for block in pages.marked(__file__) for line in block.commands]


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("arguments", COMMANDS)
def test_documented_command_works(shop: Shop, arguments: str) -> None:
    command = [sys.executable, "-m", "lakehouse.cli", *shlex.split(arguments)]
    done = subprocess.run(command, env=os.environ | environment_of(shop), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
