"""What commands share: options, and how they print what they found."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lakehouse.errors import UsageError
from lakehouse.terminal import shown

_WIDE = 1000
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)


class Format(StrEnum):
    """For people, or for programs."""

    table = "table"
    json = "json"


HowToPrint = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]


def length(text: str, option: str) -> timedelta:
    """A length of time, written as a number with a unit. Raises UsageError for another text, for nothing, and for
    more than a century."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([smhdw])", text.strip())
    given = timedelta(**{_UNITS[found[2]]: float(found[1])}) if found else timedelta()
    if not timedelta() < given <= _LONGEST:
        raise UsageError(f"{option} is a number with a unit, like 30s, 5m, 12h or 60d, not {text!r}.")
    return given


def print_json(value: object) -> None:
    """One line of JSON; what JSON does not know becomes text."""
    typer.echo(json.dumps(value, default=str))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """What is known of one thing, a line per fact; of a list, a line per part. None is left out."""
    console, grid = Console(), Table.grid(padding=(0, 2))
    if not console.is_terminal:
        console.width = _WIDE  # programs take a line for a fact
    for name, value in facts:
        if value is not None:
            lines = (value or ["nothing"]) if isinstance(value, list) else [value]
            grid.add_row(f"[dim]{name}[/]", "\n".join(shown(in_words(line)) for line in lines))
    console.print(grid)


def in_words(value: object) -> str:
    """A value as text: of a mapping its names and values."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_words(one)}" for name, one in value.items())
    return str(value)


def minute(moment: object) -> str:
    """A moment, or its text in ISO 8601, to the minute; nothing for None."""
    return str(moment or "")[:16].replace("T", " ")
