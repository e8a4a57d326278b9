"""Rows as the lake would give them to the demo's panels, as wide as they come; run as a program it shows them live."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from lakehouse.cli.demo import page, view
from lakehouse.cli.demo.traffic import Thief
from producer.contract import REASONS

NOW = datetime.now(UTC)
REASON = "one device used by 7 accounts within 30 minutes: u12345678, u2345678, u345678, u45678 and others"
TOPICS = ("shop.clicks", "shop.page_views", "shop.purchases", "shop.searches")
COUNTS = {"bronze": 123_456, "silver": 120_000, "duplicates": 3_000, "quarantined": 456}
FIGURES = {
    "page_views": 23_456, "product_views": 45_678, "clicks": 12_345, "carts": 3_345, "purchases": 345,
    "searches": 6_345, "revenue": 234_567.0, "unique_users": 9_876, "conversion_rate": 0.0123,
}  # fmt: skip


def product(number: int, **more: Any) -> dict[str, Any]:
    """A product with the longest name there is."""
    name = f"Compact Headphones {706 + number}"
    return {
        "product_id": "p1",
        "product_name": name,
        "views": 1_234 - number,
        "unique_viewers": 56,
        "as_of": NOW,
    } | more


def answers() -> list[tuple[Sequence[dict[str, Any]], ...]]:
    """The rows of each of `view.PANELS`."""
    flag = {"rule_id": "impossible_travel", "severity": "high", "score": 0.93, "entity_type": "device", "events": 7}
    flag |= {"event_time": NOW, "entity": "d0123456789ab", "reason": REASON}
    hours = [NOW - timedelta(hours=hour) for hour in range(6)]
    weeks = [date(2026, 9, 28) + timedelta(weeks=week) for week in range(10)]
    cell = {"cohort_size": 1_160, "retained_users": 1, "retention_rate": 1.0, "is_complete": False}
    return [
        ([{"topic": topic, **COUNTS, "committed_at": NOW} for topic in TOPICS],),
        ([product(rank, rank=rank) for rank in range(1, 11)],),
        ([flag] * 8, [{"rule_id": rule, "flags": 12} for rule in ("impossible_travel", "card_testing", "shared_card")]),
        ([{"hour_start": hour, **FIGURES} for hour in hours],),
        ([{"reason_code": code, "records": 33} for code in REASONS],),
        ([product(rank, rank=rank, hour_start=hour, status="final") for hour in hours for rank in (1, 2, 3)],),
        ([{"cohort_start": week, "period_index": index, **cell} for week in weeks for index in range(9)],),
    ]


class Canned(page.Figures):
    """Figures that are there, and ask nobody."""

    def __init__(self) -> None:
        """Nothing is opened."""
        self.answers, self.trouble = dict(enumerate(answers())), ""

    def __enter__(self) -> Canned:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


def extras() -> list[RenderableType]:
    """What follows the panels."""
    said = "the lake had all processors busy; it is slowest in its first minutes"
    steps = [
        ("Ask your own question", 'shoplake sql "SELECT * FROM gold.kpis_hourly ORDER BY hour_start DESC LIMIT 5"')
    ]
    return [view.freshness(1.4, 6.2, 44, said), view.next_steps("What to do next", steps * 3)]


def main() -> None:
    """The live page until Ctrl-C, then a word."""
    pressed, thief = Text("nothing"), Thief("u1", NOW.timestamp(), tried=6, seconds=1.4)
    console = Console(highlight=False)

    def commit_fraud() -> None:
        pressed.append(" but f")

    keys = {"f": ("new thief", commit_fraud)}
    try:
        page.show(console, view.PANELS, Canned(), lambda: view.thief(thief), extras, keys)
    except KeyboardInterrupt:
        console.print("The whole report, after", pressed)


if __name__ == "__main__":
    sys.exit(main())
