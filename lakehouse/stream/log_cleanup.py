"""Deletes old entries of a Delta table's log: all before the newest checkpoint that is itself old enough.

Delta does so too, but only at a commit that writes a checkpoint (`delta.checkpointInterval`), and by whole days: the
log of a table that is no longer written would stay. This makes no commit, so it disturbs no writer.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.delta_log import log_versions
from lakehouse.s3 import delete_objects, listed
from lakehouse.table import LOG_HOURS, Table

_OF_VERSION = re.compile(r"^(\d{20})\.(?:json|crc|checkpoint(?:\.\d{10}\.\d{10})?\.parquet)$")


def clean(client: Any, bucket: str, table: Table, before: datetime | None = None) -> int:
    """Delete the expired files of a table's log (`before`: LOG_HOURS ago), the oldest first; how many they were."""
    log = f"{table.layer}/{table.name}/_delta_log/"
    written = {str(one["Key"])[len(log) :]: one["LastModified"] for one in listed(client, bucket, log)}
    names = expired(written, before or datetime.now(UTC) - timedelta(hours=LOG_HOURS))
    delete_objects(client, bucket, [{"Key": log + name} for name in names])
    return len(names)


def expired(written: Mapping[str, datetime], before: datetime) -> list[str]:
    """Names in a log, each with its time, which versions that were the newest at `before` or later do not need."""
    _, checkpoints = log_versions(written)
    begin = max((version for version, parts in checkpoints.items() if _is_old(parts, written, before)), default=0)
    versions = {name: int(match[1]) for name in written if (match := _OF_VERSION.match(name))}
    return sorted(name for name, version in versions.items() if version < begin)


def commits_to_read(names: Iterable[str]) -> int:
    """How many commits a reader has to read after the newest checkpoint."""
    commits, checkpoints = log_versions(names)
    return len([version for version in commits if version > max(checkpoints, default=-1)])


def _is_old(parts: Iterable[str], written: Mapping[str, datetime], before: datetime) -> bool:
    return all(written[name] < before for name in parts)
