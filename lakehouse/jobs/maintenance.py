"""maintenance: few, large files, and no files that no version needs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lakehouse.catalog import TABLES
from lakehouse.jobs.parameters import Say
from lakehouse.lake import Lake

WRITES = TABLES


class Parameters(BaseModel):
    """What a run can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_hours: float = Field(24.0, ge=1, le=24 * 365, description="Keep files of versions younger than this.")


def run(lake: Lake, parameters: Parameters, say: Say) -> dict[str, Any]:
    """Compact and vacuum every table; safe beside the stream and readers that take less than `keep_hours`."""
    for table in TABLES:
        say(f"Compacting and vacuuming {table.full_name}")
        lake.compact(table)
        lake.vacuum(table, parameters.keep_hours)
    return {"tables": len(TABLES), "keep_hours": parameters.keep_hours}
