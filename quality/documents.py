"""The documents of the checks, beside what Great Expectations writes: a first page that needs no network, and an end.

Its own first page is put together in the browser by scripts from elsewhere, and it keeps every run for ever, all of
which it draws again at each build.
"""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT_RUNS = 10
"""Runs whose documents are kept, per suite; `ops.quality_results` has the verdicts of all of them."""
STYLE = """
body { font-family: system-ui, sans-serif; margin: 1.5rem; color: #1c2733; line-height: 1.4; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border-bottom: 1px solid #d5dde5; padding: .4rem .8rem; text-align: left; vertical-align: top; }
a { color: #0b6e99; }
footer, .card:has(input[type=radio]), img[src^=http] { display: none; }
"""
"""Without what needs scripts or pictures from elsewhere."""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Checks of the lake</title><style>{style}</style></head><body>
<h1>Checks of the lake</h1>
<p>The newest result of every suite; times are UTC. {said}</p>
<table><thead><tr><th>Suite</th><th>Result</th><th>Expectations</th><th>Checked</th></tr></thead>
<tbody>
{rows}
</tbody></table></body></html>
"""


@dataclass(frozen=True)
class _Newest:
    """The newest result of one suite."""

    suite: str
    page: str
    """Address of its page, below the first one."""
    checked: str
    expectations: int
    failing: list[str]
    """Id and meaning of what fails."""


def first_page(folder: Path) -> Path:
    """Where the first page is, once the documents are built."""
    return _site(folder) / "overview.html"


def style(folder: Path) -> None:
    """Have Great Expectations write this look into its pages, which else is fetched from elsewhere."""
    file = folder / "gx" / "plugins" / "custom_data_docs" / "styles" / "data_docs_custom_styles.css"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(STYLE)


def prune(folder: Path, keep: int = KEPT_RUNS) -> None:
    """Remove the results and pages of all but the newest runs of every suite."""
    for name in _runs(folder):
        runs = sorted(name.iterdir())
        for old in runs[: max(len(runs) - keep, 0)]:
            shutil.rmtree(old)
            shutil.rmtree(_site(folder) / "validations" / old.relative_to(_results(folder)), ignore_errors=True)


def write_first_page(folder: Path) -> Path:
    """Write the page that lists every suite's newest result and leads to its page."""
    newest = sorted(_newest(folder), key=lambda one: (not one.failing, one.suite))
    failing = sum(bool(one.failing) for one in newest)
    said = f"Something fails in {failing} of {len(newest)} suites." if failing else "All expectations hold."
    page = first_page(folder)
    page.write_text(_PAGE.format(style=STYLE, said=said, rows="\n".join(map(_row, newest))), encoding="utf-8")
    return page


def _row(one: _Newest) -> str:
    result = "<br>".join(f"✗ {html.escape(each)}" for each in one.failing) or "✓ holds"
    link = f'<a href="{html.escape(one.page)}">{html.escape(one.suite)}</a>'
    return f"<tr><td>{link}</td><td>{result}</td><td>{one.expectations}</td><td>{one.checked}</td></tr>"


def _newest(folder: Path) -> Iterator[_Newest]:
    for name in _runs(folder):
        (file,) = max(name.iterdir()).glob("*.json")
        found = json.loads(file.read_text(encoding="utf-8"))
        yield _Newest(
            suite=found["suite_name"],
            page=str(Path("validations") / file.relative_to(_results(folder)).with_suffix(".html")),
            checked=found["meta"]["run_id"]["run_time"][:19].replace("T", " "),
            expectations=found["statistics"]["evaluated_expectations"],
            failing=[_named(result) for result in found["results"] if not result["success"]],
        )


def _named(result: dict[str, Any]) -> str:
    declared = result["expectation_config"]
    return f"{declared['meta']['id']}: {declared['notes']}"


def _runs(folder: Path) -> list[Path]:
    """The folders that have one folder per run, each: a suite's name, then Great Expectations' word for no run name."""
    return [path for path in _results(folder).rglob("__none__") if path.is_dir() and any(path.iterdir())]


def _results(folder: Path) -> Path:
    return folder / "gx" / "uncommitted" / "validations"


def _site(folder: Path) -> Path:
    return folder / "gx" / "uncommitted" / "data_docs" / "local_site"
