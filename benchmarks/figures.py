"""What the benchmarks have in common: a figure, and the files of results that are kept with the code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured figure, with its target where there is one."""

    name: str
    value: float
    unit: str
    target: str = ""


def report(file: Path, command: str, figures: list[Figure]) -> None:
    """Print the figures, a line each, and write them."""
    for one in figures:
        Console().print(f"{one.name:<52} {one.value:>12,.2f} {one.unit:<14} {one.target}", highlight=False)
    write_figures(file, command, figures)


def write_figures(file: Path, command: str, figures: list[Figure]) -> None:
    """Write measured figures with the moment, the machine and the command that measures them again."""
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": {"cores": psutil.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 2**30)},
        "figures": [asdict(figure) for figure in figures],
    }
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n")
