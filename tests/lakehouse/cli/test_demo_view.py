"""The demo's panels: what they say, at 80 columns and without colour."""

import io
from datetime import UTC, date, datetime

import duckdb
import pytest
from rich.console import Console, RenderableType

from lakehouse.cli.demo import view
from lakehouse.cli.demo.traffic import Thief
from lakehouse.sql_guard import check_reading
from tests.support.declared_tables import create_tables

NOW = datetime(2026, 9, 3, 10, 15, 30, tzinfo=UTC)
BALANCED = {"topic": "shop.clicks", "bronze": 1000, "silver": 990, "duplicates": 7, "quarantined": 3}
PRODUCT = {
    "as_of": NOW,
    "hour_start": NOW.replace(minute=0, second=0),
    "status": "provisional",
    "rank": 1,
    "product_id": "p9",
    "product_name": "A very long product name that does not end soon",
    "views": 1234,
    "unique_viewers": 56,
}
FLAG = {
    "event_time": NOW,
    "rule_id": "impossible_travel",
    "severity": "high",
    "score": 0.93,
    "entity_type": "user",
    "entity": "u123456",
    "reason": "DE to BR within 4 minutes, 10,000 km apart: faster than any traveller can be",
    "events": 2,
}
FIGURES = {
    "hour_start": NOW,
    "page_views": 123456,
    "product_views": 45678,
    "clicks": 2345,
    "carts": 345,
    "purchases": 45,
    "searches": 6,
    "revenue": 12345.678,
    "unique_users": 9876,
    "conversion_rate": 0.0123,
}


def cell(start: int, index: int, rate: float | None, complete: bool) -> dict[str, object]:
    return {
        "cohort_start": date(2026, 8, start),
        "cohort_size": 100,
        "period_index": index,
        "retained_users": None if rate is None else round(rate * 100),
        "retention_rate": rate,
        "is_complete": complete,
    }


RETENTION = [
    cell(3, 0, 1.0, True),
    cell(3, 1, 0.42, True),
    cell(3, 2, 0.2, False),
    cell(10, 0, 1.0, True),
    cell(10, 1, 0.38, False),
    cell(10, 2, None, False),
]


def shown(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(renderable)
    text = console.file.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    return text


def test_the_identity_is_ticked_or_its_gap_named() -> None:
    assert view.is_balanced([BALANCED])
    assert not view.is_balanced([])
    assert "✗" not in shown(view.layers([BALANCED]))
    lost = BALANCED | {"silver": 985}
    assert not view.is_balanced([BALANCED, lost])
    text = shown(view.layers([BALANCED, lost]))
    assert "✗ +5" in text
    assert "✓" in text


def test_records_that_came_home_stay_in_the_sum() -> None:
    """Sent again they are in bronze twice: refused there, and accepted here."""
    with duckdb.connect() as lake:
        create_tables(lake)
        for table, offsets in (("bronze.events", "1, 2, 3"), ("silver.events", "1, 3"), ("silver.quarantine", "2")):
            lake.execute(
                f"INSERT INTO {table} BY NAME SELECT 'shop.clicks' AS topic, unnest([{offsets}]) AS \"offset\""
            )
        lake.execute("UPDATE silver.quarantine SET status = 'resolved'")
        found = lake.execute(view.LAYERS)
        names = [column[0] for column in found.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert rows == [{"topic": "shop.clicks", "bronze": 3, "silver": 2, "duplicates": 0, "quarantined": 1}]
    assert view.is_balanced(rows)


def test_top_products_and_hours() -> None:
    text = shown(view.top_products([PRODUCT, PRODUCT | {"rank": 2, "views": 617, "product_name": None}]))
    assert "10:15:30" in text
    assert "█" * view.BAR in text
    assert "p9" in text
    hours = [PRODUCT | {"rank": rank} for rank in (1, 2, 3)]
    assert "09-03 10:00* A very long" in shown(view.hourly_products(hours))
    assert "09-03 10:00 A very long" in shown(view.hourly_products([hours[0] | {"status": "final"}]))
    figures = shown(view.hourly_figures([FIGURES]))
    assert "12,346" in figures
    assert "1.2%" in figures


def test_flags_say_why() -> None:
    text = shown(view.flags([FLAG], [{"rule_id": "impossible_travel", "flags": 12}]))
    assert "09-03 10:15" in text  # flags of history are from other days
    assert "high 0.93" in text
    assert "faster than any traveller can be (2 events)" in " ".join(text.split())
    assert "All flags: impossible_travel 12" in text


def test_retention_is_a_triangle() -> None:
    lines = shown(view.retention(RETENTION)).splitlines()
    first = next(line for line in lines if "2026-08-03" in line)
    last = next(line for line in lines if "2026-08-10" in line)
    assert first.split() == ["2026-08-03", "100", "100%", "42%", "20%*"]
    assert last.split() == ["2026-08-10", "100", "100%", "38%*", "·"]


def test_quarantine_freshness_and_next_steps() -> None:
    text = " ".join(shown(view.quarantine([{"reason_code": "not_json", "records": 3}])).split())
    assert "truncated, duplicate keys" in text and "…" not in text
    measured = " ".join(shown(view.freshness(1.2, 7.5, 40, "others were busy")).split())
    assert "p50 1.2 s ✓ p99 7.5 s ✗" in measured and "40 samples: others were busy" in measured
    assert "not measured yet" in shown(view.freshness(None, None, 0))
    assert "shoplake sql --tables" in shown(view.next_steps("Next", [("All tables", "shoplake sql --tables")]))


def ended(job: str, state: str = "succeeded", **result: object) -> dict[str, object]:
    error = None if state == "succeeded" else {"message": "The books do not balance. shop.clicks partition 0."}
    return {"job": job, "state": state, "result": result, "error": error}


REPLAY = ended("replay_quarantine", chosen=50, acceptable=2, resolved=2)
LEDGER = ended(
    "reconcile", bronze=33_210, silver=32_500, duplicates=653, quarantined=57, gold_hours=1_440, served_hours=1_440,
    notes=["3 totals of gold changed just now and are not published yet"],
)  # fmt: skip
GATE = ended("quality", expectations=41, failed=1, warnings=["silver.events.volume"], blocking=[])


def test_the_desk_the_ledger_and_the_gate_in_a_few_lines() -> None:
    trust = view.Trust(REPLAY, LEDGER, GATE, {})
    text = " ".join(shown(view.trust(trust)).split())
    assert trust.is_right and "✗" not in text
    assert "A replay with a fix looked at 50 refused records, 2 came home." in text
    assert "bronze 33,210 = silver 32,500 + duplicates 653 + quarantined 57" in text and "3 totals of gold" in text
    assert "41 expectations judged, 1 failed (1 only warn: silver.events.volume)." in text


def test_what_is_wrong_with_them_is_said() -> None:
    broken = view.Trust(ended("replay_quarantine", "lost"), ended("reconcile", "failed"), GATE, {"gold.kpis": "a.b"})
    text = " ".join(shown(view.trust(broken)).split())
    assert not broken.is_right and text.count("✗") == 3
    assert "reconcile failed: The books do not balance. shop.clicks partition 0." in text
    assert "gold.kpis is held back by a.b." in text


def test_a_thief_is_told_from_the_first_card_to_the_flag() -> None:
    thief = Thief("u1", NOW.timestamp(), tried=2)
    assert "The thief of 10:15:30 has tried 2 of 6 stolen cards; no flag yet" in shown(view.thief(thief))
    thief.seconds = 1.44
    assert "✓ The thief of 10:15:30 was flagged 1.4 s after the decisive card" in shown(view.thief(thief))


def test_a_hostile_reason_steers_no_terminal() -> None:
    text = shown(view.flags([FLAG | {"reason": "The value\x1b is [bold]cut"}]))
    assert "\x1b" not in text and "[bold]cut" in text


def test_empty_panels_say_so() -> None:
    empty = view.page(
        [
            view.top_products([]),
            view.hourly_products([]),
            view.hourly_figures([]),
            view.flags([]),
            view.quarantine([]),
            view.retention([]),
        ]
    )
    assert shown(empty).count("no ") >= 4


@pytest.mark.parametrize(
    "name",
    [name for name, value in vars(view).items() if name.isupper() and isinstance(value, str) and "SELECT" in value],
)
def test_queries_only_read(name: str) -> None:
    check_reading(getattr(view, name))
