"""forget: removes a person from the lake, bronze and old files included, and leaves a receipt without the id.

Every step can be repeated: a run that died continues where it was. Why: docs/decisions/forgetting.md.
"""

import shutil
import time
from collections import Counter
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field, SecretStr, SerializationInfo, field_serializer

from gold import retention
from lakehouse import backup_ages as ages
from lakehouse import hours as clock
from lakehouse import persons
from lakehouse.catalog import TABLES
from lakehouse.errors import UsageError
from lakehouse.jobs import cohort_retention, erasing, quality, reconcile
from lakehouse.jobs.merging import run_name
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.ops import erasures, marks
from lakehouse.s3 import s3_client
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream import control, old_versions
from lakehouse.stream.gold_refresh import GoldRefresh
from lakehouse.stream.progress import behind
from lakehouse.table import READER_SECONDS, Table

WRITES = TABLES
"""Locks all tables, so that no other run reads the old files that are deleted."""
TEXTS = {"event_id", "fix", "path", "sample", "observed", "reason"}
"""Columns of ops tables that hold text from events and people. Elsewhere, as in `topic`, an equal text is no id."""


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Parameters of a run."""

    user: SecretStr = Field(min_length=1, max_length=128, description="The user_id to forget; a run keeps its hash.")
    wait_seconds: int = Field(
        READER_SECONDS,
        ge=0,
        le=READER_SECONDS,
        description="How long old files stay for who reads them now. After less, a question under way may fail.",
    )

    @field_serializer("user")
    def _kept(self, user: SecretStr, info: SerializationInfo) -> str:
        """The hash that the registry keeps in place of the id; the run finds the id in a private file by it."""
        settings: object = info.context
        return persons.keep(settings, user.get_secret_value()) if isinstance(settings, Settings) else str(user)


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Forget a person; returns the receipt. Raises UsageError if the id is not kept any more."""
    settings, given = lake.settings, parameters.user.get_secret_value()
    user = persons.known(settings, given)
    if user is None:
        raise UsageError("This person was forgotten already, or asked for more than a day ago: give the id again.")
    say("Looking for the person's records")
    records = erasing.found(lake, user)
    erasing.note(lake, records)
    say("Writing bronze, silver and quarantine without them")
    days = erasing.erase(lake, user, records)
    if not control.is_wanted(settings):
        _delete(settings.fold_file.parent, f"{settings.fold_file.name}*")
    hours = _unfinished_hours(lake)
    _restate(lake, hours, say)
    say("Clearing texts that name the person")
    cleared = sum(_clear(lake, table, user) for table in TABLES if table.layer == "ops" and TEXTS & {*table.columns})
    before = old_versions.close(lake, TABLES)
    _wait(parameters.wait_seconds, say)
    say("Deleting old files")
    deleted = sum(old_versions.delete(lake, s3_client(settings), table, before) for table in TABLES)
    _delete(settings.superset_home / "choices", "*")
    reworded = persons.reword(settings, persons.as_word(user), r"\1forgotten")
    own, mentions = erasing.left(lake, user)
    figures = {
        **_counted(lake),
        "gold_hours": len(hours),
        "user_days": days,
        "cleared_cells": cleared,
        "registry_rows": reworded,
        "deleted_files": deleted,
        "mentions": mentions,
    }
    receipt = _receipt(lake, user, figures, own)
    persons.drop(settings, user)
    return receipt


def _delete(folder: Path, names: str) -> None:
    """Delete what may still hold the person: the memory of a stopped stream, what people chose in filters."""
    for file in folder.glob(names):
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def _unfinished_hours(lake: Lake) -> set[int]:
    """Hours whose gold is older than silver: those of this run, and of runs that did not finish."""
    ended = set(lake.small.read(erasures.RECEIPTS).column("run_id").to_pylist())
    records = lake.small.read(erasures.RECORDS).select(["hour", "run_id"]).to_pylist()
    return {row["hour"] for row in records if row["hour"] is not None and row["run_id"] not in ended}


def _restate(lake: Lake, hours: set[int], say: Say) -> None:
    """Recompute gold of these hours, a month at a time, since their events are in memory meanwhile."""
    gold = GoldRefresh(lake)
    for _, month in groupby(sorted(hours), key=lambda hour: f"{clock.start_of(hour):%Y-%m}"):
        say("Computing gold anew")
        gold.restate_beside_stream(set(month))
    for row in lake.read(retention.TABLE).select("timezone").distinct().collect():
        zone = cohort_retention.Parameters(timezone=row["timezone"])
        cohort_retention.run(lake, zone, lambda _doing: say("Computing gold anew"))
    for job in (reconcile.NAME, quality.NAME):
        marks.forget(lake, job)


def _clear(lake: Lake, table: Table, user: str) -> int:
    """Null the texts of an ops table that contain the id as a word, such as a sample of an unknown field. If such a
    text is part of the key, delete the row."""
    cleared = 0

    def changed(rows: pa.Table) -> pa.Table | None:
        nonlocal cleared
        cleared = 0
        for name in TEXTS & {*rows.column_names}:
            texts = rows.column(name)
            has_it = pc.fill_null(pc.match_substring_regex(texts, persons.bounded(user)), False)
            cleared += pc.sum(has_it).as_py() or 0
            if name in table.keys:
                rows = rows.filter(pc.invert(has_it))
            else:
                left = pc.if_else(has_it, pa.scalar(None, texts.type), texts)
                rows = rows.set_column(rows.column_names.index(name), name, left)
        return rows if cleared else None

    lake.small.change(table, changed, lake.mark)
    return cleared


def _wait(seconds: int, say: Say) -> None:
    for left in range(seconds, -1, -1):
        say("Waiting until nobody reads old files")
        time.sleep(min(left, 1))


def _counted(lake: Lake) -> dict[str, int]:
    """Records that this run has erased, over all its attempts."""
    counts = Counter(erasing.of_run(lake).column("was").to_pylist())
    names = {"silver": "silver_rows", "quarantined": "quarantined_rows", "duplicates": "duplicate_rows"}
    return {name: counts[was] for was, name in names.items()}


def _receipt(lake: Lake, user: str, figures: dict[str, int], came: int) -> dict[str, Any]:
    """Write the receipt; the publisher rebuilds its file when it sees it."""
    person = persons.name_of(lake.settings, user)
    backups = ages.note_forgotten(lake.settings, person)
    erased_at = datetime.now(UTC)
    again = [f"{came} records of the person came meanwhile: run this again when no more come."] if came else []
    notes = [*again, *_unread(lake), *_in_logs(lake.settings, user)]
    row = {"run_id": run_name(lake), "person": person, "erased_at": erased_at, **figures}
    row |= {"backups": backups, "notes": notes}
    lake.append_rows(erasures.RECEIPTS, [tuple(row[name] for name in erasures.RECEIPTS.columns)])
    return {**row, "erased_at": erased_at.isoformat(timespec="seconds")}


def _unread(lake: Lake) -> list[str]:
    """Notes about Kafka, which keeps its records until their retention ends; booked ones are never read again."""
    hours = lake.settings.topic_retention_hours
    kept = f"Kafka keeps what was sent for {hours} hours; what the lake has read it does not read again."
    try:
        with connect(lake.settings) as reader:
            waiting = behind(lake.settings, reader)
    except Exception as error:  # a broker that is away must not undo what was done
        return [kept, f"Kafka does not say whether records wait ({type(error).__name__}): if so, run this again."]
    return [kept, f"{waiting} records wait in Kafka: run this again when they are read."] if waiting else [kept]


def _in_logs(settings: Settings, user: str) -> list[str]:
    """A note about logs of services that contain the id: they are in use, so a person has to delete them."""
    wanted = [each.encode() for each in persons.spellings(user)]
    files = [file for file in settings.logs.glob("*") if file.is_file()]
    named = [file.name for file in files if any(each in file.read_bytes() for each in wanted)]
    return [f"These logs have the id, delete them: {', '.join(sorted(named))}."] if named else []
