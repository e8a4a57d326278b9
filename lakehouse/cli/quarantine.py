"""`shoplake quarantine list|show|explain|replay`: the desk for refused records."""

from datetime import datetime
from typing import Annotated, Any

import typer

from lakehouse.cli.common import Format, HowToPrint, print_facts, print_json
from lakehouse.cli.runs import run_and_wait
from lakehouse.cli.sql import OutputFormat, print_result
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.settings import Settings, load_settings
from producer.contract import REASONS, TOPIC_OF_TYPE, declared, meaning_and_remedy

RecordId = Annotated[str, typer.Argument(help="topic-partition-offset, as `shoplake quarantine list` shows it.")]


def _known(option: typer.CallbackParam, value: str | None) -> str | None:
    try:
        return value and declared(value, REASONS if option.name == "reason" else TOPIC_OF_TYPE.values())
    except ValueError as error:
        raise UsageError(f"--{option.name} is wrong: {error}.") from None


Reason = Annotated[str | None, typer.Option(help="Only records refused with this reason code.", callback=_known)]
Topic = Annotated[str | None, typer.Option(help="Only records of this Kafka topic.", callback=_known)]
From = Annotated[datetime | None, typer.Option("--from", help="Only records refused at this time (UTC) or later.")]
To = Annotated[datetime | None, typer.Option("--to", help="Only records refused before this time (UTC).")]
_FACTS = (
    "topic || '-' || \"partition\" || '-' || \"offset\" AS id, reason_code, reason_detail, status, resolved_by,"
    " quarantined_at"
)

app = typer.Typer(name="quarantine", help="See, correct and replay refused records.", no_args_is_help=True)


@app.command("list")
def list_records(
    reason: Reason = None,
    topic: Topic = None,
    from_time: From = None,
    to_time: To = None,
    key: Annotated[str | None, typer.Option(help="Only records with this Kafka key.")] = None,
    user: Annotated[str | None, typer.Option(help="Only records whose value names this user.")] = None,
    event: Annotated[str | None, typer.Option(help="Only records whose value names this event.")] = None,
    status: Annotated[str, typer.Option(help="open, resolved or all.")] = "open",
    summary: Annotated[bool, typer.Option("--summary", help="Count by reason and topic.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most records.")] = 20,
    format: HowToPrint = Format.table,
) -> None:
    """List refused records, the newest first.

    In a value that is not JSON, --user and --event find an id in quotes.

    Example: [bold]shoplake quarantine list --summary[/]
    """
    from lakehouse.raw_records import carries
    from lakehouse.sql import connect
    from lakehouse.sql_text import quoted_text, utc_text

    if status not in ("open", "resolved", "all"):
        raise UsageError(f"--status is open, resolved or all, not {status!r}.")
    wanted = {"reason_code": reason, "topic": topic, "status": None if status == "all" else status}
    conditions = [f"{name} = {quoted_text(value)}" for name, value in wanted.items() if value is not None]
    conditions += [f"quarantined_at >= {quoted_text(utc_text(from_time))}::TIMESTAMPTZ"] if from_time else []
    conditions += [f"quarantined_at < {quoted_text(utc_text(to_time))}::TIMESTAMPTZ"] if to_time else []
    conditions += [f"key = encode({quoted_text(key)})"] if key is not None else []
    conditions += [
        carries(name, value) for name, value in (("user_id", user), ("event_id", event)) if value is not None
    ]
    where = " AND ".join(conditions) or "true"
    rows = (
        f"SELECT reason_code, topic, status, count(*) AS records, max(quarantined_at) AS newest"  # noqa: S608 - texts are quoted, names are ours
        f" FROM silver.quarantine WHERE {where} GROUP BY ALL ORDER BY records DESC LIMIT {limit}"
        if summary
        else f"SELECT {_FACTS} FROM silver.quarantine WHERE {where} ORDER BY quarantined_at DESC, id LIMIT {limit}"  # noqa: S608 - texts are quoted, names are ours
    )
    with connect(load_settings()) as reader:
        print_result(reader.stream(rows), OutputFormat(format), None)


@app.command()
def show(record: RecordId, format: HowToPrint = Format.table) -> None:
    """Show a refused record: why, what arrived, and which run replayed it.

    Example: [bold]shoplake quarantine show shop.clicks-0-1042[/]
    """

    found = _record(load_settings(), record)
    _print({**found, "key": _readable(found["key"]), "value": _readable(found["value"])}, format)


@app.command()
def explain(record: RecordId, format: HowToPrint = Format.table) -> None:
    """Judge a refused record by today's checks, and list everything that is wrong with it.

    Example: [bold]shoplake quarantine explain shop.clicks-0-1042[/]
    """
    settings = load_settings()
    found = _record(settings, record)
    violations = _violations(settings, found)
    meaning, remedy = meaning_and_remedy(found["reason_code"])
    facts: dict[str, Any] = {
        "id": record,
        "status": found["status"],
        "refused_for": f"{found['reason_code']}: {found['reason_detail']}",
        "means": meaning,
        "remedy": remedy,
        "wrong_today": [f"{code}: {detail}" for code, detail in violations],
        "replay_would": "be refused again" if violations else "be accepted",
    }
    _print(facts, format)


@app.command()
def replay(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Records as topic-partition-offset; none: by the options.")
    ] = None,
    reason: Reason = None,
    topic: Topic = None,
    from_time: From = None,
    to_time: To = None,
    fix: Annotated[
        str | None,
        typer.Option(help="Change them first, as `cast data.price=number; rekey`. All steps: docs/how-to/quality.md."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be accepted now.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most records.")] = 10_000,
    everything: Annotated[bool, typer.Option("--all", help="All open records.")] = False,
    format: HowToPrint = Format.table,
) -> None:
    """Judge refused records again; what is accepted now reaches silver and gold, each once.

    Example: [bold]shoplake quarantine replay --reason wrong_type --fix "cast data.price=number" --dry-run[/]
    """
    chosen = {
        "ids": ",".join(ids or []) or None,
        "reason": reason,
        "topic": topic,
        "from_time": f"{from_time.isoformat()}Z" if from_time else None,
        "to_time": f"{to_time.isoformat()}Z" if to_time else None,
    }
    if everything == any(chosen.values()):
        raise UsageError("Say which records: ids, --reason, --topic, --from, --to; or --all for all open ones.")
    run_and_wait("replay_quarantine", {**chosen, "fix": fix, "dry_run": dry_run, "limit": limit}, format)


def _record(settings: Settings, record: str) -> dict[str, Any]:
    """The row of one refused record. Raises UsageError when the id is none, ShoplakeError when there is no such row."""
    from lakehouse.raw_records import place_in
    from lakehouse.sql import query
    from lakehouse.sql_text import quoted_text

    place = place_in(record)
    found = query(
        settings,
        f"SELECT * FROM silver.quarantine WHERE topic = {quoted_text(place.topic)}"  # noqa: S608 - texts are quoted, names are ours
        f' AND "partition" = {place.partition} AND "offset" = {place.offset}',
    )
    if not found:
        raise ShoplakeError(f"{record} is not in quarantine; `shoplake quarantine list` shows what is.")
    return found[0]


def _violations(settings: Settings, found: dict[str, Any]) -> list[tuple[str, str]]:
    from pyspark.sql.types import StructType

    from bronze.events import RECORD_COLUMNS
    from lakehouse.session import connect
    from silver import checks, quarantine

    spark = connect(settings)
    try:
        schema = StructType([quarantine.TABLE.schema[name] for name in RECORD_COLUMNS])
        rows = spark.createDataFrame([tuple(found[name] for name in RECORD_COLUMNS)], schema)
        limits = checks.Limits(settings.max_future_minutes, settings.max_age_days)
        (row,) = checks.violations(rows, limits).collect()
    finally:
        spark.stop()
    return [(each["code"], each["detail"]) for each in row["violations"]]


def _readable(raw: bytes | None) -> str | None:
    return None if raw is None else bytes(raw).decode("utf-8", "backslashreplace")


def _print(facts: dict[str, Any], format: Format) -> None:
    if format is Format.json:
        print_json(facts)
    else:
        print_facts(facts.items())
