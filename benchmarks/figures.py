"""What the benchmarks have in common: a figure, and the files of results that are kept with the code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

DAY_MS = 86_400_000
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured figure, with its target where there is one."""

    name: str
    value: float
    unit: str
    target: str = ""


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
