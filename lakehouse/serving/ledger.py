"""The last step of the ledger: gold ↔ serving file, per topic and hour.

The file says which version of gold it holds. It must be equal to that version; from the newest one it may differ for
as long as a publish takes, or because the gate holds the table back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.errors import ShoplakeError
from lakehouse.hours import sql_on_days
from lakehouse.serving.file import PUBLISHED, open_serving, rows_of
from lakehouse.serving.held import how_held, with_held
from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_text
from quality.ledger import TOTALS, Fault, hour_place

TABLE = "gold.kpis_hourly"
PUBLISH_TAKES = timedelta(minutes=5)
"""Gold that changed longer ago than this must be in the file, whatever the publisher is at."""

_STATE = (
    f"SELECT delta_version, published_at, blocked_by, held_rows, held_by FROM {PUBLISHED} WHERE table_name = '{TABLE}'"  # noqa: S608 - the names are declared in this project
)
Totals = dict[tuple[datetime, str], dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """What does not add up, and what differs for a known reason. `hours` were compared."""

    faults: list[Fault]
    notes: list[str]
    hours: int = 0


def compare(reader: SqlReader, serving_file: Path, days: Iterable[date], now: datetime) -> Comparison:
    """Compare gold with the serving file on these days, the running hour included. `now` is UTC."""
    totals = TOTALS.replace("{on_days}", sql_on_days("hour_date", days))
    try:
        with open_serving(serving_file) as serving:
            states = rows_of(serving, _STATE)
            shown = _by_place(rows_of(serving, totals.replace("{table}", with_held(serving, TABLE))))
    except duckdb.Error:
        states = []
    if not states:
        return Comparison([], ["nothing is published yet"])
    (state,) = states
    faults, notes = _against_its_version(reader, shown, totals, state["delta_version"])
    newest = _by_place(reader.query(totals.replace("{table}", TABLE)))
    behind = [place for place in sorted(newest | shown) if _counted(newest, place) != _counted(shown, place)]
    behind = [place for place in behind if place not in faults]
    if state["held_rows"]:
        notes.append(f"of {TABLE} the serving file holds back {how_held(state)}")
    if state["blocked_by"] and behind:
        notes.append(f"{TABLE} is held back by {state['blocked_by']}: the serving file has its last good version")
    elif behind:
        published_at = state["published_at"].replace(tzinfo=UTC)
        late = [place for place in behind if now - _changed(newest, place, published_at) > PUBLISH_TAKES]
        faults |= {place: f"{_differ(shown, newest, place)}, although it is older than any publish" for place in late}
        if len(late) < len(behind):
            notes.append(f"{len(behind) - len(late)} totals of gold changed just now and are not published yet")
    ordered = sorted((topic, hour) for hour, topic in faults)
    named = [Fault(hour_place({"hour": hour, "topic": topic}), faults[hour, topic]) for topic, hour in ordered]
    return Comparison(named, notes, len({hour for hour, _ in shown}))


def _against_its_version(
    reader: SqlReader, shown: Totals, totals: str, version: int | None
) -> tuple[dict[tuple[datetime, str], str], list[str]]:
    """Where the file is not the version of gold that it says it is; nothing while it has none."""
    if version is None:
        return {}, []
    table = f"delta_scan({quoted_text(reader.address(TABLE))}, version => {version})"
    try:
        stated = _by_place(reader.arrow(totals.replace("{table}", table)).to_pylist())
    except ShoplakeError:
        # A table that is held back for long keeps a version whose files the lake has let go of.
        return {}, [f"version {version} of {TABLE}, which the serving file holds, is no longer in the lake"]
    unequal = [place for place in stated | shown if _counted(stated, place) != _counted(shown, place)]
    return {place: f"{_differ(shown, stated, place)} in its version {version}" for place in unequal}, []


def _by_place(rows: Iterable[dict[str, Any]]) -> Totals:
    """Totals by hour (UTC) and topic; moments of the file are plain, the lake's have a zone."""
    return {(_utc(row["hour"]), row["topic"]): row for row in rows}


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _counted(totals: Totals, place: tuple[datetime, str]) -> int:
    return int(totals[place]["counted"]) if place in totals else 0


def _changed(totals: Totals, place: tuple[datetime, str], otherwise: datetime) -> datetime:
    return _utc(totals[place]["updated_at"] or otherwise) if place in totals else otherwise


def _differ(shown: Totals, gold: Totals, place: tuple[datetime, str]) -> str:
    return f"the serving file counts {_counted(shown, place)}, {TABLE} {_counted(gold, place)}"
