"""maintenance: few, large files, and no files that no version needs; says per table what it has saved."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from lakehouse.catalog import TABLES
from lakehouse.embedded.s3 import s3_client
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Compacted, Lake
from lakehouse.table import Table

WRITES = TABLES
Files = dict[str, int]
"""Bytes by key of every object of a table, its log included."""


class Parameters(BaseModel):
    """Nothing: every table states for how long its old files are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def run(lake: Lake, _parameters: Parameters, say: Say) -> dict[str, Any]:
    """Compact and vacuum every table; safe beside the stream, jobs and readers (`lakehouse.file_ages`).

    `maintained` of the result has a row per table; files and bytes are what lies in S3, old versions included.
    """
    client, rows = s3_client(lake.settings), []
    for table in TABLES:
        say(f"Compacting and vacuuming {table.full_name}")
        before = _files(client, lake, table)
        compacted = lake.compact(table)
        lake.vacuum(table)
        rows.append(saved(table, before, _files(client, lake, table), compacted))
    totals = {name: sum(row[name] for row in rows) for name in rows[0] if name != "table"}
    return {**totals, "maintained": rows}


def saved(table: Table, before: Files, after: Files, compacted: Compacted) -> dict[str, Any]:
    """The row of one table. Others may have written meanwhile: what was deleted is what is gone, not the difference."""
    gone = before.keys() - after.keys()
    return {
        "table": table.full_name,
        "files_before": len(before),
        "files_after": len(after),
        "bytes_before": sum(before.values()),
        "bytes_after": sum(after.values()),
        "compacted_files": compacted.files,
        "compacted_into": compacted.into,
        "deleted_files": len(gone),
        "deleted_bytes": sum(before[key] for key in gone),
    }


def _files(client: Any, lake: Lake, table: Table) -> Files:
    where = {"Bucket": lake.settings.bucket, "Prefix": f"{table.layer}/{table.name}/"}
    pages = client.get_paginator("list_objects_v2").paginate(**where)
    return {str(found["Key"]): int(found["Size"]) for page in pages for found in page.get("Contents", [])}
