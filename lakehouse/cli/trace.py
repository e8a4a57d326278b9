"""`shoplake trace event|figure`: where a record went, and where a number comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.common import Format, HowToPrint, print_facts

if TYPE_CHECKING:
    from lakehouse.serving.figures import Figure
    from lakehouse.serving.newest import Publish
    from lakehouse.serving.trace import TracedRecord
    from lakehouse.settings import Settings
    from lakehouse.sql import SqlReader


app = typer.Typer(name="trace", help="Where a record went, and which events a number comes from.", no_args_is_help=True)


@app.command()
def event(
    event_id: Annotated[str | None, typer.Argument(help="The event's id: every record that carries it.")] = None,
    key: Annotated[str | None, typer.Option(help="The newest records with this Kafka key, the user's id.")] = None,
    at: Annotated[str | None, typer.Option(help="The record at topic-partition-offset.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most records of a key.")] = 20,
    format: HowToPrint = Format.table,
) -> None:
    """Show a record's whole way: when it arrived, what became of it, and where it counts.

    It may be accepted, a duplicate, or refused. An accepted event names its published hours of gold, and its flags.

    Example: [bold]shoplake trace event --at shop.purchases-0-1042[/]
    """
    from lakehouse.serving.sql_output import exact_json
    from lakehouse.serving.trace import Tracer

    with _lake() as lake:
        found = Tracer(*lake).trace(event_id, key, at, limit)
    if format is Format.json:
        typer.echo(exact_json(found.model_dump()))
        return
    for record in found.records:
        print_facts(_way(record))
        typer.echo()


@app.command()
def figure(
    table: Annotated[str, typer.Argument(help="An hourly gold table.")],
    hour: Annotated[str, typer.Argument(help="The clock hour, UTC, as 2026-11-29T10.")],
    column: Annotated[str, typer.Argument(help="A number in it.")],
    of: Annotated[list[str] | None, typer.Option(help="Which row, as currency=EUR, where an hour has several.")] = None,
    limit: Annotated[int, typer.Option(min=0, max=100_000, help="Most events to list.")] = 10,
    format: HowToPrint = Format.table,
) -> None:
    """Go back from a number to its events and their Kafka offsets, add them up, and say whether they match.

    The exit code is 1 if they do not.

    Example: [bold]shoplake trace figure gold.kpis_hourly 2026-11-29T10 revenue[/]
    """
    from lakehouse.serving.figures import Figures, hour_in, row_in
    from lakehouse.serving.sql_output import exact_json

    start, row = hour_in(hour), row_in(of or [])
    with _lake() as lake:
        found = Figures(*lake).trace(table, start, column, row, limit)
    if format is Format.json:
        typer.echo(exact_json(found.model_dump()))
    else:
        print_facts(_sum(found))
    if not found.matches:
        raise typer.Exit(1)


@contextmanager
def _lake() -> Iterator[tuple[Settings, SqlReader, Publish | None]]:
    """The lake, and what is published of it."""
    from lakehouse.serving.newest import open_publish
    from lakehouse.serving.trace import THREADS
    from lakehouse.settings import load_settings
    from lakehouse.sql import connect
    from lakehouse.watchdog import SECONDS

    settings = load_settings()
    with connect(settings, seconds=SECONDS, threads=THREADS) as reader:
        yield settings, reader, open_publish(settings.serving_file)


def _way(record: TracedRecord) -> Iterator[tuple[str, object]]:
    from lakehouse.serving.trace import SAID

    named = f" with the event {record.event_id}" if record.event_id is not None else ""
    yield "record", f"{record.at}{named}"
    sent = _moment(record.kafka_timestamp) if record.kafka_timestamp else "without a time that can be kept"
    yield "came", f"{sent} to Kafka with the key {record.key!r}, {_moment(record.ingested_at)} into bronze"
    if record.reason_code:
        resolved = f"; resolved by {record.resolved_by}" if record.resolved_by else f"; {record.status}"
        yield "fate", f"refused: {record.reason_code}, {record.reason_detail}{resolved}"
        return
    first = f" of {record.duplicate_of}" if record.duplicate_of else ""
    yield "fate", f"{SAID[record.fate]}{first}"
    if record.event is None:
        return
    yield "event", f"{record.event.event_type} of {record.event.user_id} at {_moment(record.event.event_time)}"
    for table, rows in groupby(record.event.counts_in, lambda one: f"{one.table} {one.hour_start:%Y-%m-%dT%H}"):
        for number, one in enumerate(rows):
            row = ", ".join(f"{name} {value}" for name, value in one.row.items())
            shown = f" (published {_moment(one.published_at)})" if one.published_at else " (to be published)"
            if not number:
                yield "counts in", f"{table}{shown}"
            yield "", f"  {row}{': ' if row else ''}{', '.join(one.columns)}"
    if not record.event.counts_in:
        yield "counts in", "nothing that is published"
    for flag in record.event.flags:
        yield "flag", f"{flag.rule_id} {flag.severity}, {flag.reason} (detected {_moment(flag.detected_at)})"


def _sum(found: Figure) -> Iterator[tuple[str, object]]:
    row = "".join(f", {name} {value}" for name, value in found.row.items())
    yield "figure", f"{found.table} {found.hour_start:%Y-%m-%dT%H}{row}: {found.column}"
    yield "gold says", f"{_number(found.value)}, written {_moment(found.written_at)}"
    yield "events say", f"{_number(found.adds_up_to)}, from {found.events:,} events"
    yield "so", "they match" if found.matches else "they do not match"
    if found.value is None and found.column == "revenue":
        yield "", "several currencies, so no sum; SHOPLAKE_CURRENCY says which one counts"
    if found.later_events:
        yield "later", f"{found.later_events:,} events came since and wait for the next writing"
    if found.published_at:
        yield "published", f"{_number(found.published_value)}, {_moment(found.published_at)}"
    for place in found.offsets:
        where = f"{place.topic}-{place.partition}, offsets {place.first_offset:,} to {place.last_offset:,}"
        yield "offsets", f"{where}: {place.events:,} events"
    for one in found.first_events:
        yield "event", f"{one.at}  {one.event_id}  {_moment(one.event_time)}  {one.adds}"
    if found.events > len(found.first_events):
        yield "", f"and {found.events - len(found.first_events):,} more (--limit)"


def _number(value: object) -> str:
    from lakehouse.serving.sql_output import digits

    if value is None:
        return "NULL"
    return digits(value) if isinstance(value, Decimal | float) else f"{value}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
