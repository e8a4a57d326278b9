"""Writes what documents repeat from the code: `python -m docs.generate`; a test names those that have drifted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def documents() -> dict[str, str]:
    """Every document that is made, whole or in part, as it should be; by its path."""
    return {name: with_blocks((ROOT / name).read_text()) for name in ("docs/scaling.md", "docs/faults.md")}


def drifted() -> list[str]:
    """The documents that do not say what the code says."""
    return [name for name, text in documents().items() if not _says(ROOT / name, text)]


def with_blocks(page: str) -> str:
    """A page with what stands between `<!-- measured: … -->` and `<!-- end -->` made anew."""
    return re.sub(
        r"(<!-- measured: (\w+)(?: \"(.+)\")? -->\n).*?(?=<!-- end -->)",
        lambda found: f"{found[1]}\n{measured(found[2], found[3])}\n",
        page,
        flags=re.DOTALL,
    )


def measured(benchmark: str, only: str | None = None) -> str:
    """The figures of a file in benchmarks/results, or one of them, with the command that measures them again."""
    report = json.loads((RESULTS / f"{benchmark}.json").read_text())
    rows = [
        (one["name"], f"{one['value']:,.{0 if one['value'] >= 10 else 1}f} {one['unit']}")
        for one in report["figures"]
        if only in (None, one["name"])
    ]
    when, machine = report["measured_at"][:10], report["machine"]
    note = f"`{report['command']}`, {when}, {machine['cores']} cores and {machine['memory_gb']} GB:"
    return f"{note}\n\n{table(('figure', 'value'), rows)}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> None:
    """Write all of them."""
    for name, text in documents().items():
        (ROOT / name).write_text(text)


def _says(file: Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


if __name__ == "__main__":
    main()
