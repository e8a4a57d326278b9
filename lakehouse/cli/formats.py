"""How commands print what they found."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """For people, or for programs."""

    table = "table"
    json = "json"


HowToPrint = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]
