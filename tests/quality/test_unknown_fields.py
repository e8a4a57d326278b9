"""Unknown fields are found where they stand, counted, and shown."""

import json
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.lake import arrow_rows
from quality.unknown_fields import MOST, OTHERS, TABLE, counted_until, found_in, merged

MOMENTS = [datetime(2026, 9, 3, 10, minute, tzinfo=UTC) for minute in range(4)]


def found(*events: tuple[datetime, str | None], since: datetime = datetime(2026, 9, 1, tzinfo=UTC)) -> dict[str, Any]:
    """What is found in purchases of these moments, with these extra fields; by its path."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET memory_limit = '192MB'")
        connection.execute(
            "CREATE TABLE events (topic VARCHAR, event_type VARCHAR, processed_at TIMESTAMPTZ, extra VARCHAR)"
        )
        connection.executemany("INSERT INTO events VALUES ('t', 'purchase', ?, ?)", events)
        rows = connection.execute(found_in("events", since, MOMENTS[-1])).to_arrow_table().to_pylist()
    return {row["path"]: row for row in rows}


def test_fields_are_found_counted_and_sampled() -> None:
    extras: list[dict[str, Any] | None] = [
        {"campaign": {"name": "autumn"}, "data": {"colour": "red"}},
        {"campaign": None, "context": {"app": 4.2}},
        {"data": {"products": [{"colour": "red"}]}, "note": "n" * 500, 'odd "name".$': 1},
        None,
    ]
    texts = [json.dumps(extra, separators=(",", ":")) if extra else None for extra in extras]
    rows = found(*zip(MOMENTS, texts, strict=True))
    assert {path: (row["count"], row["sample"]) for path, row in rows.items()} == {
        "campaign": (2, '{"name":"autumn"}'),
        "data.colour": (1, '"red"'),
        "context.app": (1, "4.2"),
        "data.products": (1, '[{"colour":"red"}]'),
        "note": (1, '"' + "n" * 199),
        'odd "name".$': (1, "1"),
    }
    assert (rows["campaign"]["first_seen"], rows["campaign"]["last_seen"]) == (MOMENTS[0], MOMENTS[1])
    assert {(row["topic"], row["event_type"]) for row in rows.values()} == {("t", "purchase")}


def test_only_what_came_since_is_looked_at() -> None:
    events = [(moment, json.dumps({"note": number})) for number, moment in enumerate(MOMENTS)]
    assert found(*events, since=MOMENTS[1])["note"]["count"] == 2
    assert found(*events, since=MOMENTS[3]) == {}


def test_a_run_that_died_before_its_mark_moved_is_not_counted_again() -> None:
    known = table(rows(["a"], MOMENTS[2], 1) + rows(["b"], MOMENTS[1], 1))
    assert counted_until(known, MOMENTS[0]) == counted_until(known, None) == MOMENTS[2]
    assert counted_until(known, MOMENTS[3]) == MOMENTS[3]
    assert counted_until(table([]), None).year == 1970


def test_names_without_end_become_one_row() -> None:
    known = rows([f"a{number:04}" for number in range(MOST - 1)], MOMENTS[0], 2)
    first = merged(table(known), table(rows(["b1", "b2", "b3"], MOMENTS[1], 1)))
    again = merged(first, table(rows(["a0000", "b2", "c"], MOMENTS[2], 1))).to_pylist()
    by_path = {row["path"]: row for row in again}
    assert len(again) == len(by_path) == MOST + 1
    assert {name: by_path[name]["count"] for name in ("a0000", "b1", OTHERS)} == {"a0000": 3, "b1": 1, OTHERS: 4}
    assert by_path[OTHERS]["last_seen"] == MOMENTS[2]


def test_a_name_without_end_is_cut() -> None:
    assert [len(path) for path in found((MOMENTS[0], json.dumps({"n" * 5_000: 1})))] == [200]


def test_an_event_of_nothing_but_unknown_fields_fills_no_memory() -> None:
    assert len(found((MOMENTS[0], json.dumps({f"k{number}": number for number in range(10_000)})))) == 10_000


def rows(names: list[str], moment: datetime, each: int) -> list[tuple[Any, ...]]:
    return [("t", "click", name, moment, moment, each, "1") for name in names]


def table(found: list[tuple[Any, ...]]) -> pa.Table:
    return arrow_rows(TABLE, found)
