"""The last step of the ledger: gold ↔ serving file, per topic and hour.

The file says which version of gold it holds. It must be equal to that version; from the newest one it may differ for
as long as a publish takes, or because the gate holds the table back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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

_STATE = f"SELECT * REPLACE (published_at::TIMESTAMPTZ AS published_at) FROM {PUBLISHED} WHERE table_name = '{TABLE}'"  # noqa: S608 - the names are declared in this project
Place = tuple[str, datetime]
"""A topic, and an hour of it (UTC)."""
Totals = dict[Place, dict[str, Any]]


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
    behind = [place for place in newest | shown if place not in faults and _differ(newest, shown, place)]
    if state["held_rows"]:
        notes.append(f"of {TABLE} the serving file holds back {how_held(state)}")
    if state["blocked_by"] and behind:
        notes.append(f"{TABLE} is held back by {state['blocked_by']}: the serving file has its last good version")
    elif behind:
        for place in behind:
            changed_at = newest[place]["updated_at"] if place in newest else None
            if now - (changed_at or state["published_at"]) > PUBLISH_TAKES:
                faults[place] = f"{_differ(newest, shown, place)}, although it is older than any publish"
        if pending := [place for place in behind if place not in faults]:
            notes.append(f"{len(pending)} totals of gold changed just now and are not published yet")
    named = [Fault(hour_place({"topic": topic, "hour": hour}), faults[topic, hour]) for topic, hour in sorted(faults)]
    return Comparison(named, notes, len({hour for _, hour in shown}))


def _against_its_version(
    reader: SqlReader, shown: Totals, totals: str, version: int | None
) -> tuple[dict[Place, str], list[str]]:
    """Where the file is not the version of gold that it says it is; nothing while it has none."""
    if version is None:
        return {}, []
    table = f"delta_scan({quoted_text(reader.address(TABLE))}, version => {version})"
    try:
        stated = _by_place(reader.arrow(totals.replace("{table}", table)).to_pylist())
    except ShoplakeError:
        # A table that is held back for long keeps a version whose files the lake has let go of.
        return {}, [f"version {version} of {TABLE}, which the serving file holds, is no longer in the lake"]
    unequal = {place: _differ(stated, shown, place) for place in stated | shown}
    return {place: f"{said} in its version {version}" for place, said in unequal.items() if said}, []


def _by_place(rows: Iterable[dict[str, Any]]) -> Totals:
    return {(row["topic"], row["hour"]): row for row in rows}


def _differ(gold: Totals, shown: Totals, place: Place) -> str:
    """What the file and gold count at a place; nothing where it is the same."""
    of_file, of_gold = (totals[place]["counted"] if place in totals else 0 for totals in (shown, gold))
    return "" if of_file == of_gold else f"the serving file counts {of_file}, {TABLE} {of_gold}"
