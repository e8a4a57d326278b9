"""Whoever reads a command in the documents can be sure that it was run, or reads who would have to."""

import re
from pathlib import Path

import pytest

from lakehouse.settings import Settings
from tests.support import pages
from tests.support.pages import ROOT, Block

BLOCKS = pages.blocks()
BY_HAND = {
    "docs/how-to/superset.md#1": "needs Superset's own environment; tests/dashboards starts the same",
    "docs/how-to/superset.md#2": "changes this checkout; tests/dashboards does the same",
}


def test_the_documents_have_commands() -> None:
    assert len(BLOCKS) >= 20 and len({block.page for block in BLOCKS}) >= 8


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_command_is_run_or_needs_what_nobody_here_has(block: Block) -> None:
    if block.runner is None:
        assert block.mark == "needs AWS" or str(block) in BY_HAND, f"{block}: say above it who runs it (see pages.py)"
        return
    runner = ROOT / block.runner
    assert runner.is_file(), f"{block} names a file that is not there"
    text = runner.read_text()
    if block.runner.startswith("tests/"):
        takes_it_from_the_page = "marked(__file__)" in text or Path(block.page).name in text
        assert takes_it_from_the_page, f"{block.runner} does not take its commands from {block.page}"
    else:
        assert [one for one in block.commands if one not in text.splitlines()] == []


def test_what_is_done_by_hand_is_said_so() -> None:
    found = {str(block): block.mark for block in BLOCKS if block.mark.startswith("by hand")}
    assert found == {name: f"by hand: {why}" for name, why in BY_HAND.items()}


@pytest.mark.parametrize("block", [one for one in BLOCKS if "make" in one.text], ids=str)
def test_the_targets_exist(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in block.commands:
        for target in pages.make_targets(command):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def test_the_settings_that_pages_name_exist() -> None:
    """Those of AWS are made by the templates, and are no settings of the platform."""
    known = {f"SHOPLAKE_{name.upper()}" for name in Settings.model_fields}
    aws = set(re.findall(r"SHOPLAKE_[A-Z0-9_]+", (ROOT / "deploy" / "aws" / "templates" / "compute.yaml").read_text()))
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        named = set(re.findall(r"SHOPLAKE_[A-Z0-9]+(?:_[A-Z0-9]+)*", page.read_text()))
        assert named <= known | aws, f"{page.name} names {named - known - aws}"


def test_every_test_that_pages_name_exists() -> None:
    """`tests/…/test_a.py::test_b`, `::test_c` of the same file, or a name alone."""
    everywhere = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    named, of_file = 0, ""
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for file, of_it, test in re.findall(r"`(tests/[\w/]+\.py)?(::)?(test_\w+)?(?:\[\w+\])?`", page.read_text()):
            of_file = (ROOT / file).read_text() if file else of_file
            assert not test or f"def {test}(" in (of_file if of_it else everywhere), f"{page.name}: {file} {test}"
            named += bool(test)
    assert named >= 50


def test_every_file_that_pages_name_exists() -> None:
    """Also in commands, such as `python -m benchmarks.live` or `pytest tests/aws`."""
    folders = "api|benchmarks|bronze|deploy|docs|gold|lakehouse|producer|quality|silver|superset|tests"
    named = 0
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text()
        paths = re.findall(rf"[` ]((?:{folders})/[\w/-]+\.[\w.]*\w)", text)
        paths += re.findall(r"pytest [^`\n]*?(tests/[\w/.-]*\w)", text)
        for module in re.findall(r"python -m (benchmarks\.\w+)", text):
            folder = ROOT / module.replace(".", "/")
            paths.append(f"{module.replace('.', '/')}{'/__main__' if folder.is_dir() else ''}.py")
        assert [path for path in paths if not (ROOT / path).exists()] == [], page.name
        named += len(paths)
    assert named >= 80
