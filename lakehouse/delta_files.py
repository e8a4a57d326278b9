"""Which files make up a Delta table at its newest version, read from its log alone: no Spark, nothing is written."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from lakehouse.errors import ShoplakeError
from lakehouse.table import Table

_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint(?:\.\d{10}\.(\d{10}))?\.parquet$")
_COLUMNS = ["add.path", "add.size", "add.deletionVector"]


@dataclass(frozen=True)
class Snapshot:
    """A version of a table: keys of its log from the last checkpoint on, and of its data files, below `prefix`."""

    version: int
    prefix: str
    log: tuple[str, ...]
    data: tuple[str, ...]
    data_bytes: int

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
    live: dict[str, int] = {}
    for key in parts:
        for add in _checkpointed(_read(client, bucket, key)):
            live[_path(table, add)] = int(add["size"])
    for number in later:
        _apply(table, _read(client, bucket, commits[number]), live)
    # The checkpoint's own commit tells readers of the log alone which version there is.
    kept = [commits[number] for number in sorted(commits) if number >= (begin or 0)]
    data = tuple(f"{prefix}{path}" for path in sorted(live))
    return Snapshot(version, prefix, (*parts, *kept), data, sum(live.values()))


def _listed(client: Any, bucket: str, log: str) -> tuple[dict[int, str], dict[int, list[str]]]:
    """Keys of commits, and of whole checkpoints, by version."""
    commits: dict[int, str] = {}
    parts: dict[int, list[str]] = {}
    wanted: dict[int, int] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=log):
        for found in page.get("Contents", []):
            name = str(found["Key"])[len(log) :]
            if commit := _COMMIT.match(name):
                commits[int(commit[1])] = found["Key"]
            elif checkpoint := _CHECKPOINT.match(name):
                parts.setdefault(int(checkpoint[1]), []).append(found["Key"])
                wanted[int(checkpoint[1])] = int(checkpoint[2] or 1)
    return commits, {version: keys for version, keys in parts.items() if len(keys) == wanted[version]}


def _read(client: Any, bucket: str, key: str) -> bytes:
    body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def _checkpointed(body: bytes) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet

    table = parquet.ParquetFile(io.BytesIO(body)).read(columns=_COLUMNS)
    yield from (add for add in table.column("add").to_pylist() if add and add.get("path") is not None)


def _apply(table: Table, body: bytes, live: dict[str, int]) -> None:
    for line in body.splitlines():
        action = json.loads(line) if line.strip() else {}
        if remove := action.get("remove"):
            live.pop(_path(table, remove), None)
        if add := action.get("add"):
            live[_path(table, add)] = int(add["size"])


def _path(table: Table, file: dict[str, Any]) -> str:
    """A data file's key below the table. Raises ShoplakeError for kinds of files that our tables do not have."""
    path = unquote(file["path"])
    if urlsplit(path).scheme or path.startswith("/"):
        raise ShoplakeError(f"{table.full_name} has a file outside its own folder ({path}).")
    if any((file.get("deletionVector") or {}).values()):
        raise ShoplakeError(f"{table.full_name} uses deletion vectors, which are not followed here.")
    return path
