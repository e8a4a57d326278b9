"""The commands of the README and of the first hour run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support import pages
from tests.support.shop import Shop, environment_of, shoplake

pytestmark = pytest.mark.e2e

README = (Path(__file__).parents[3] / "README.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/shoplake (.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("arguments", [text for text in COMMANDS if not text.startswith("produce")])
def test_command_works(shop: Shop, arguments: str) -> None:
    done = shoplake(shop, *shlex.split(arguments))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (Path(__file__).parents[3] / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)`|^make (\w+)", README, re.MULTILINE)):
        name = next(filter(None, target))
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


@pytest.mark.nightly
def test_the_first_hour_goes_as_the_page_says(shop: Shop, tmp_path: Path) -> None:
    environment = environment_of(shop) | pages.programs(tmp_path / "bin")
    said = []
    for block in pages.marked(__file__):
        said.append(pages.run(block.text, environment, tmp_path))
        shop.wait_until_read()  # the half minute of the page
    assert [text for text in said if not text.strip() or "(0 rows)" in text] == []
    bronze, silver = said[1], said[2]
    assert (bronze.count('"event_id": "mine-1"'), bronze.count('"event_id": "mine-2"')) == (2, 1)
    assert (silver.count("mine-1"), silver.count("mine-2")) == (1, 0)
