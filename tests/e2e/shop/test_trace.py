"""The commands of how-to/trace.md and how-to/send-events.md on a running platform, and the way of an event."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.services.service import PROJECT_ROOT
from tests.support import pages
from tests.support.pages import Block
from tests.support.shop import Shop, environment_of, eventually, shoplake

pytestmark = pytest.mark.e2e

BLOCKS = pages.marked(__file__)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_pages_commands_work(block: Block, shop: Shop, tmp_path: Path) -> None:
    text = block.text.replace("http://127.0.0.1:8000", shop.settings.own_api_url)
    environment = environment_of(shop) | pages.programs(tmp_path / "bin") | {"NO_PROXY": "127.0.0.1"}
    assert pages.run(text, environment, tmp_path)


def test_an_event_that_was_just_sent_goes_the_whole_way(shop: Shop) -> None:
    """Sent by the page's lines, traced by the command that they print, and found behind the number of its hour."""
    page = (PROJECT_ROOT / "docs" / "how-to" / "send-events.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    pasted = lines.replace("127.0.0.1:9092", shop.settings.bootstrap)
    environment = os.environ | environment_of(shop)
    done = subprocess.run(
        [sys.executable, "-"], input=pasted, env=environment, capture_output=True, text=True, check=True
    )
    command = done.stdout.split()
    shop.wait_until_read()

    def told() -> str:
        return shoplake(shop, *command[1:]).stdout

    said = eventually(
        lambda: "product_views" in (text := told()) and "(published" in text and text, 120, "it is published"
    )
    assert "accepted" in said
    hour = re.search(r"gold\.kpis_hourly (\S+)", said)
    assert hour is not None
    figure = shoplake(shop, "trace", "figure", "gold.kpis_hourly", hour[1], "product_views", "--limit", "100000")
    assert figure.returncode == 0 and command[-1] in figure.stdout, figure.stdout + figure.stderr
