"""Writes the list of rules in `docs/alerts.md`: `python -m lakehouse.alerts.page`; a test fails when it has drifted."""

from __future__ import annotations

import re
from pathlib import Path

from lakehouse.alerts.rules import RULES, Rule

PATH = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"
_BEGIN, _END = "<!-- made by `python -m lakehouse.alerts.page` -->\n", "<!-- end -->\n"


def page() -> str:
    """The page with the list as the rules say."""
    before, rest = PATH.read_text(encoding="utf-8").split(_BEGIN)
    return before + _BEGIN + "\n" + rules_list() + "\n" + _END + rest.split(_END)[1]


def rules_list() -> str:
    """Every rule as Markdown."""
    header = "| alert | severity | fires when | for | means | what to do |\n|---|---|---|---|---|---|\n"
    return header + "".join(_row(rule) for rule in RULES)


def _row(rule: Rule) -> str:
    limit = f"`SHOPLAKE_{rule.limit.upper()}`" if isinstance(rule.limit, str) else f"{rule.limit:g}"
    holds = f"{rule.holds_seconds:g} s" if rule.holds_seconds else "at once"
    figure = re.sub(r"_seconds$", ", in seconds,", rule.figure).replace("_", " ")
    cells = f"`{rule.name}`", rule.severity, f"{figure} > {limit}", holds, rule.means, rule.what_to_do
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
