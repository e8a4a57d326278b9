"""`shoplake produce`: simulated or recorded events to Kafka, or to a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.common import length
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.settings import load_settings
from lakehouse.terminal import visible

if TYPE_CHECKING:
    from producer.record import Record
    from producer.simulator import SimulationOptions


app = typer.Typer()


@app.command()
def produce(
    history: Annotated[
        str | None, typer.Option(help="Back-dated events for this long, at full speed: 60d, 12h.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Events in real time; after the history when both.")] = False,
    rate: Annotated[float | None, typer.Option(help="Live events per second (default 50).")] = None,
    duration: Annotated[str | None, typer.Option(help="End live traffic after this long: 30s, 5m.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after this many records.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, options and times: same events, byte for byte.")] = 42,
    start: Annotated[
        str | None, typer.Option(help="When simulated time begins (RFC 3339), instead of --history.")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(help="Where history ends and live begins (RFC 3339); default now, with --to the last midnight."),
    ] = None,
    history_events: Annotated[int, typer.Option(min=1, help="About how many events the history has.")] = 100_000,
    users: Annotated[int | None, typer.Option(min=1, help="Shoppers; live traffic adds some when it must.")] = None,
    duplicates: Annotated[float, typer.Option(help="Share of records sent once more.")] = 0.01,
    out_of_order: Annotated[float, typer.Option(help="Share of records some seconds behind.")] = 0.01,
    late: Annotated[float, typer.Option(help="Share of records minutes to two days behind.")] = 0.005,
    malformed: Annotated[float, typer.Option(help="Share of malformed records.")] = 0.005,
    harmless: Annotated[float, typer.Option(help="Share of odd records that are still valid.")] = 0.002,
    fraud: Annotated[float, typer.Option(help="Share of events in fraud episodes and their look-alikes.")] = 0.02,
    truth: Annotated[Path | None, typer.Option(help="Write the truth about fraud episodes here.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="Write a line per acknowledged record here.")] = None,
    to: Annotated[Path | None, typer.Option(help="Write JSON lines to this file instead of publishing.")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Publish a recorded file: JSON lines, or a layout of others.")
    ] = None,
    shift_to_now: Annotated[bool, typer.Option("--shift-to-now", help="With --replay: the last event is now.")] = False,
) -> None:
    """Publish the events of a simulated shop, live unless --history is given, or of a recorded file.

    The same --seed, options and --end give the same events, byte for byte.

    A file (--to) without --end ends, or its live traffic begins, at the last midnight (UTC). It holds one event a line.

    A record that is no plain event is wrapped there: {"_topic": …, "_key": …, "_value_base64": …}.

    Example: [bold]shoplake produce --rate 200 --duration 1m[/]

    Example: [bold]shoplake produce --history 60d --live[/]

    Example: [bold]shoplake produce --replay events.csv --shift-to-now[/]
    """
    _refuse_mixtures(to, ledger, replay, shift_to_now, history, live)
    if replay is not None:
        from producer.replay import replay as replayed

        left_out: Counter[str] = Counter()
        shift_to = datetime.now(UTC) if shift_to_now else None
        found = replayed(replay, shift_to=shift_to, rate=rate, left_out=left_out)
        _send((record for record in islice(found, count)), to, ledger, 0.0 if rate else None, count)
        if left_out:
            kinds = ", ".join(f"{lines:,} {kind}" for kind, lines in left_out.most_common(20))
            typer.echo(f"Left out, for the contract has no event type for them: {visible(kinds)}.", err=True)
        return

    from producer.simulator import SimulationOptions, simulate

    live_seconds = length(duration, "--duration").total_seconds() if duration else (count or 0) / (rate or 50.0)
    now_ms = _moment_ms(end, "--end") if end else _now_ms(to, live_seconds)
    history_ms = length(history, "--history").total_seconds() * 1000 if history else 0
    if start:
        if history:
            raise UsageError("Give --start or --history, not both.")
        began = _moment_ms(start, "--start")
        now_ms, history_ms = (now_ms, now_ms - began) if end else (began, 0)
        if history_ms < 0:
            raise UsageError("--start must be before --end.")
    options = SimulationOptions(
        now_ms=now_ms,
        seed=seed,
        history_ms=int(history_ms),
        history_events=history_events,
        live=live or not history_ms,
        rate=rate if rate is not None else 50.0,
        duration_s=length(duration, "--duration").total_seconds() if duration else None,
        count=count,
        users=users,
        duplicates=duplicates,
        out_of_order=out_of_order,
        late=late,
        malformed=malformed,
        harmless=harmless,
        fraud=fraud,
        truth=truth,
    )
    if to is not None and options.live and count is None and duration is None:
        raise UsageError("--to with live traffic needs --count or --duration, or the file would never end.")
    live_from = now_ms / 1000 if options.live else None
    _send(simulate(options), to, ledger, live_from, _total(options))


def _now_ms(to: Path | None, live_seconds: float) -> int:
    """The present; for a file the last midnight, UTC, after which its live traffic is over by now."""
    now = int(time.time() * 1000)
    if to is None:
        return now
    day = 86_400_000
    return (now - int(live_seconds * 1000)) // day * day


def _refuse_mixtures(
    to: Path | None, ledger: Path | None, replay: Path | None, shift_to_now: bool, history: str | None, live: bool
) -> None:
    if to is not None and ledger is not None:
        raise UsageError("--ledger lists what Kafka acknowledged; with --to nothing is published.")
    if replay is not None and (history or live):
        raise UsageError("--replay publishes a file; it goes without --history and --live.")
    if shift_to_now and replay is None:
        raise UsageError("--shift-to-now belongs to --replay.")


def _send(
    records: Generator[Record, None, None],
    to: Path | None,
    ledger: Path | None,
    live_from: float | None,
    total: int | None,
) -> None:
    from producer.progress import progress, stop_on_signals, summary
    from producer.publish import publish

    with closing(records), stop_on_signals() as stop:
        if to is not None:
            _write(records, to)
            return
        settings = load_settings()
        begun = chain(list(islice(records, 1)), records)  # a file that cannot be read is no reason to wait for Kafka
        with progress(settings.bootstrap, total) as observe:
            counts = publish(begun, settings, ledger=ledger, live_from=live_from, stop=stop, observe=observe)
    typer.echo(summary(counts))
    if counts.failed or counts.unacknowledged:
        raise ShoplakeError("Not every record reached Kafka; the line above says how many did not.")


def _write(records: Iterable[Record], path: Path) -> None:
    from producer.record import to_line

    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("wb") as file:
        for record in records:
            file.write(to_line(record) + b"\n")
            written += 1
    typer.echo(f"{written:,} records written to {path}.")


def _total(options: SimulationOptions) -> int | None:
    """How many records to expect, for the bar; None when it never ends."""
    if options.count is not None:
        return options.count
    past = options.history_events if options.history_ms else 0
    if not options.live:
        return past
    return None if options.duration_s is None else past + int(options.rate * options.duration_s)


def _moment_ms(text: str, option: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} must be a time like 2026-09-03T10:15:30Z (got {text!r}).") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
