"""What the benchmarks have in common: a figure, and the files of results that are kept with the code."""

import json
from collections.abc import Iterable
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


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)]


def show(figures: Iterable[Figure]) -> None:
    """Print the figures, a line each."""
    for one in figures:
        Console().print(f"{one.name:<52} {one.value:>12,.2f} {one.unit:<14} {one.target}", highlight=False)


def report(name: str, command: str, figures: list[Figure], **more: object) -> None:
    """Print the figures, and keep them with the moment, the machine and the command that measures them again."""
    show(figures)
    kept = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": {"cores": psutil.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 2**30)},
        "figures": [asdict(figure) for figure in figures],
        **more,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
