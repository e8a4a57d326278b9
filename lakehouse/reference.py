"""Writes docs/commands.md and docs/settings.md from the code: `python -m lakehouse.reference` (`--check` compares)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from lakehouse.cli import app, areas
from lakehouse.settings import Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"
_NOTE = "Made by `python -m lakehouse.reference`; a test fails when it drifts."
_BOLD = re.compile(r"\[bold\](.*?)\[/\]", re.DOTALL)


def commands() -> str:
    """Every command with its options, as `--help` tells them."""
    if not app.registered_commands:
        areas.register(app)
    group = typer.main.get_command(app)
    text = get_docs_for_click(obj=group, ctx=typer.Context(group, info_name="shoplake"), name="shoplake")
    body = _BOLD.sub(r"`\1`", text.partition("\n")[2].strip())
    return f"# Commands\n\n{_NOTE}\n\n{body}\n"


def settings() -> str:
    """Every setting with its default."""
    lines = ["# Settings\n", f"{_NOTE} Environment variables, or a `.env` file as `.env.example` shows.\n"]
    lines += ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        lines.append(f"| `SHOPLAKE_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or tell with exit code 1 which of them has drifted."""
    pages = {DOCS / "commands.md": commands(), DOCS / "settings.md": settings()}
    if "--check" not in arguments:
        for file, text in pages.items():
            file.write_text(text)
        return 0
    drifted = [file.name for file, text in pages.items() if not file.exists() or file.read_text() != text]
    for name in drifted:
        print(f"docs/{name} does not say what the code says: run `python -m lakehouse.reference`.", file=sys.stderr)
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
