"""maintenance: few, large, clustered files, short logs, and no file that no version needs; says what it has saved."""

from datetime import UTC, date, datetime
from typing import Any

from pydantic import BaseModel, Field, field_validator

from lakehouse import persons
from lakehouse.catalog import TABLES
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake
from lakehouse.s3 import listed, s3_client
from lakehouse.small_tables import Compacted
from lakehouse.stream import clustering, log_cleanup
from lakehouse.table import Table

WRITES = TABLES
Files = dict[str, int]
"""Bytes by key of every object of a table, its log included."""


class Parameters(BaseModel, extra="forbid", frozen=True):
    """Parameters of a run. Each table states for how long its old files are kept."""

    table: str | None = Field(None, description="Only this table, for example silver.events; the default is all.")

    @field_validator("table")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in {table.full_name for table in TABLES}:
            raise ValueError(f"{value!r} is no table of the lake; `shoplake sql --tables` lists them")
        return value


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Tidy every table, or one; `maintained` of the result has a row per table."""
    persons.drop_old(lake.settings)
    client, rows, today = s3_client(lake.settings), [], datetime.now(UTC).date()
    for table in (one for one in TABLES if parameters.table in (None, one.full_name)):
        say(f"Tidying {table.full_name}")
        rows.append(tidy(lake, client, table, today))
    totals = {name: sum(row[name] for row in rows) for name in rows[0] if name != "table"}
    return {**totals, "maintained": rows}


def tidy(lake: Lake, client: Any, table: Table, today: date) -> dict[str, Any]:
    """Compact, cluster and vacuum a table and clean its log; safe beside the stream, jobs and readers
    (`lakehouse.table`). Files and bytes of the result are what lies in S3, old versions included."""
    before = _files(client, lake, table)
    lake.small.set_properties(table)
    # Before the days are clustered: afterwards it would merge some of their files again, and they would seem new.
    compacted = lake.small.compact(table)
    days = clustering.cluster(lake, client, table, today)
    lake.small.vacuum(table, orphans=True)
    log_cleanup.clean(client, lake.settings.bucket, table)
    return saved(table, before, _files(client, lake, table), compacted, days)


def saved(table: Table, before: Files, after: Files, compacted: Compacted, days: int) -> dict[str, Any]:
    """The row of one table. Others may have written meanwhile: what was deleted is what is gone, not the difference."""
    gone = before.keys() - after.keys()
    log_before, log_after = _log(before), _log(after)
    return {
        "table": table.full_name,
        "files_before": len(before),
        "files_after": len(after),
        "bytes_before": sum(before.values()),
        "bytes_after": sum(after.values()),
        "compacted_files": compacted.files,
        "compacted_into": compacted.into,
        "clustered_days": days,
        "log_files_before": len(log_before),
        "log_files_after": len(log_after),
        "log_commits_to_read": log_cleanup.commits_to_read(log_after),
        "deleted_files": len(gone),
        "deleted_bytes": sum(before[key] for key in gone),
    }


def _log(files: Files) -> list[str]:
    return [key.partition("_delta_log/")[2] for key in files if "_delta_log/" in key]


def _files(client: Any, lake: Lake, table: Table) -> Files:
    found = listed(client, lake.settings.bucket, f"{table.layer}/{table.name}/")
    return {str(one["Key"]): int(one["Size"]) for one in found}
