"""Which files make up a Delta table at its newest version, read from its log alone: no Spark, nothing is written."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from lakehouse.errors import ShoplakeError
from lakehouse.object_keys import inside
from lakehouse.table import Table

_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint(?:\.\d{10}\.(\d{10}))?\.parquet$")
_COLUMNS = ["add.path", "add.size", "add.modificationTime", "add.partitionValues", "add.deletionVector"]


@dataclass(frozen=True)
class DataFile:
    """What the log says about a file: its bytes, when it was written, and its partition's values as text."""

    size: int
    written_at: datetime
    partition: tuple[str | None, ...]


@dataclass(frozen=True)
class Snapshot:
    """A version of a table: keys of its log from the last checkpoint on, and of its data files, below `prefix`."""

    version: int
    prefix: str
    log: tuple[str, ...]
    live: dict[str, DataFile]

    @property
    def data(self) -> tuple[str, ...]:
        """Keys of the data files."""
        return tuple(f"{self.prefix}{path}" for path in sorted(self.live))

    @property
    def data_bytes(self) -> int:
        """Bytes of the data files."""
        return sum(file.size for file in self.live.values())

    @property
    def files(self) -> tuple[str, ...]:
        """Data first, then the log in its order: a copy that was cut off is no table yet."""
        return self.data + self.log


def snapshot(client: Any, bucket: str, table: Table) -> Snapshot | None:
    """The newest version; None when the table does not exist. Raises ShoplakeError for a log it cannot follow."""
    prefix = f"{table.layer}/{table.name}/"
    commits, checkpoints = _listed(client, bucket, f"{prefix}_delta_log/")
    if not commits:
        return None
    version = max(commits)
    begin = max((found for found in checkpoints if found <= version), default=None)
    parts = checkpoints[begin] if begin is not None else []
    later = range(0 if begin is None else begin + 1, version + 1)
    if missing := [number for number in later if number not in commits]:
        raise ShoplakeError(f"The log of {table.full_name} has no version {missing[0]}: it cannot be followed.")
    live: dict[str, DataFile] = {}
    for key in parts:
        for add in _checkpointed(_read(client, bucket, key)):
            live[_path(table, add)] = _file(table, add)
    for number in later:
        _apply(table, _read(client, bucket, commits[number]), live)
    # The checkpoint's own commit tells readers of the log alone which version there is.
    kept = [commits[number] for number in sorted(commits) if number >= (begin or 0)]
    return Snapshot(version, prefix, (*parts, *kept), live)


def log_versions(names: Iterable[str]) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Of the names in a log: the commits, and the files of each whole checkpoint, by version."""
    commits: dict[int, str] = {}
    parts: dict[int, list[str]] = {}
    wanted: dict[int, int] = {}
    for name in names:
        if commit := _COMMIT.match(name):
            commits[int(commit[1])] = name
        elif checkpoint := _CHECKPOINT.match(name):
            parts.setdefault(int(checkpoint[1]), []).append(name)
            wanted[int(checkpoint[1])] = int(checkpoint[2] or 1)
    return commits, {version: found for version, found in parts.items() if len(found) == wanted[version]}


def _listed(client: Any, bucket: str, log: str) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Keys of commits, and of whole checkpoints, by version."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=log)
    names = [str(found["Key"])[len(log) :] for page in pages for found in page.get("Contents", [])]
    commits, checkpoints = log_versions(names)
    return (
        {version: log + name for version, name in commits.items()},
        {version: [log + name for name in parts] for version, parts in checkpoints.items()},
    )


def _read(client: Any, bucket: str, key: str) -> bytes:
    body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def _checkpointed(body: bytes) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet

    table = parquet.ParquetFile(io.BytesIO(body)).read(columns=_COLUMNS)
    yield from (add for add in table.column("add").to_pylist() if add and add.get("path") is not None)


def _apply(table: Table, body: bytes, live: dict[str, DataFile]) -> None:
    for line in body.splitlines():
        action = json.loads(line) if line.strip() else {}
        if remove := action.get("remove"):
            live.pop(_path(table, remove), None)
        if add := action.get("add"):
            live[_path(table, add)] = _file(table, add)


def _file(table: Table, add: dict[str, Any]) -> DataFile:
    values = dict(add["partitionValues"])  # of a checkpoint they come as pairs
    written_at = datetime.fromtimestamp(int(add["modificationTime"]) / 1000, UTC)
    return DataFile(int(add["size"]), written_at, tuple(values.get(name) for name in table.partition_by))


def _path(table: Table, file: dict[str, Any]) -> str:
    """A data file's key below the table. Raises ShoplakeError for kinds of files that our tables do not have."""
    path = inside(unquote(file["path"]), table.full_name)
    if any((file.get("deletionVector") or {}).values()):
        raise ShoplakeError(f"{table.full_name} uses deletion vectors, which are not followed here.")
    return path
