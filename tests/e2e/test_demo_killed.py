"""kill -9 of parts while the demo runs: it waits for them, and what it shows is right."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.services.service import child_environment
from lakehouse.services.state import status
from tests.support.platform import free_settings

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
KILLED_AFTER = {
    "events of 60 days published": "stream",
    "records read into the lake": "s3",
    "fraud flags found": "spark",
    "Live traffic for": "kafka",
    "live events published": "api",
}
"""What the demo says, and the part that is killed then; the first time that it says so."""


def test_the_demo_is_right_whatever_is_killed(tmp_path: Path) -> None:
    settings, to_come, said = free_settings(tmp_path), dict(KILLED_AFTER), []
    command = [sys.executable, "-m", "lakehouse.cli", "demo"]
    process = subprocess.Popen(
        command, env=child_environment(settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        for heard in [text for text in to_come if text in line]:
            os.kill(status(settings)[to_come.pop(heard)]["pid"], signal.SIGKILL)
    assert process.wait() == 0, "".join(said)
    assert to_come == {}
    assert "everything has rows, and bronze = silver + duplicates + quarantined" in "".join(said)
