"""The commands of README and docs/, and who runs them: a comment above each block of commands says it.

<!-- runs: tests/e2e/test_docs.py -->   that test takes the block from here (`marked`) and runs it as it stands
<!-- runs: .ci/run -->                  that script has the same lines
<!-- needs AWS -->                      nobody can run it without an account
<!-- by hand: why -->                   few, and listed in tests/docs/test_commands.py
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("sh", "bash", "console", "shell")
_COMMAND = re.compile(r"^(\$ |\.venv/bin/)?(shoplake|make|python|pytest) \w", re.MULTILINE)
_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_GENERATED = ("docs/reference/commands.md",)


@dataclass(frozen=True)
class Block:
    """A fenced block of commands. `number` counts a page's blocks of commands from 1."""

    page: str
    number: int
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}#{self.number}"

    @property
    def commands(self) -> list[str]:
        """Its lines without comments; continued lines are one."""
        joined = self.text.replace("\\\n", " ").splitlines()
        lines = (re.sub(r"(^|\s)# .*$", "", line).strip() for line in joined)
        return [" ".join(line.split()) for line in lines if line]

    @property
    def runner(self) -> str | None:
        """The file that runs it."""
        return self.mark.removeprefix("runs: ") if self.mark.startswith("runs: ") else None


def blocks() -> list[Block]:
    """Every block of commands in README, CONTRIBUTING and docs/, but for pages that are made from the code."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = []
    for page in pages:
        name = str(page.relative_to(ROOT))
        if name not in _GENERATED:
            each = (one for one in _BLOCK.finditer(page.read_text(encoding="utf-8")) if _has_commands(one))
            found += [Block(name, number, one["mark"] or "", one["text"]) for number, one in enumerate(each, 1)]
    return found


def _has_commands(fence: re.Match[str]) -> bool:
    """Also a block that does not say its language."""
    return fence["language"] in SHELL or (not fence["language"] and bool(_COMMAND.search(fence["text"])))


def marked(file: str) -> list[Block]:
    """The blocks that the test `file` (its `__file__`) has to run."""
    name = str(Path(file).resolve().relative_to(ROOT))
    return [block for block in blocks() if block.runner == name]


def programs(folder: Path, root: Path = ROOT) -> dict[str, str]:
    """A PATH on which `shoplake`, `python` and `make` are this environment's, with the code in `root`: make runs its
    recipes, and installs nothing."""
    home = Path(sys.executable).parent
    installed = " ".join(f"-o {name}" for name in ("java", "jars", ".venv/.installed", ".venv-superset/.installed"))
    scripts = {
        "shoplake": f'exec "{sys.executable}" -m lakehouse.cli "$@"',
        "python": f'exec "{sys.executable}" "$@"',
        "make": f'exec {shutil.which("make")} -C "{root}" {installed} BIN="{folder}" "$@"',
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{home}:{os.environ['PATH']}", "PYTHONPATH": str(root)}


def run(script: str, environment: Mapping[str, str], folder: Path, seconds: float = 900) -> str:
    """What a block of commands prints; each of them must work. `.venv/bin/` is where `programs` are."""
    plain = re.sub(r"(?<![\w/])\.venv/bin/", "", script)
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", plain], env={**os.environ, **environment}, cwd=folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{plain}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def make_targets(command: str) -> list[str]:
    """The targets of a `make` command; none of another command."""
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    return words[1:] if words[:1] == ["make"] else []
