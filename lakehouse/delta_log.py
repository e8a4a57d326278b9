"""What a Delta table's log says: the files of its newest version, and what changed between two versions. No Spark, few
requests, nothing is written."""

import io
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from lakehouse.errors import ShoplakeError
from lakehouse.s3 import inside, listed, s3_client
from lakehouse.settings import Settings
from lakehouse.sql_text import quoted_name, quoted_text
from lakehouse.table import Table

_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint(?:\.\d{10}\.(\d{10}))?\.parquet$")
MOST_COMMITS = 200
"""So many commits are looked at one by one; beyond them the whole table is read."""
LIST_SECONDS = 60.0
"""So often a log is listed; in between, the next version is asked for by its name. A list costs more, on some servers
by all that is in the log, but after a long pause versions may be missing because they are old."""
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
    prefix, log = f"{table.layer}/{table.name}/", _log_of(table)
    commits, checkpoints = log_versions(_names(client, bucket, log))
    if not commits:
        return None
    version = max(commits)
    begin = max((found for found in checkpoints if found <= version), default=None)
    parts = checkpoints[begin] if begin is not None else []
    later = range(0 if begin is None else begin + 1, version + 1)
    if missing := [number for number in later if number not in commits]:
        raise ShoplakeError(f"The log of {table.full_name} has no version {missing[0]}: it cannot be followed.")
    live: dict[str, DataFile] = {}
    for name in parts:
        for add in _checkpointed(_read(client, bucket, log + name)):
            live[_path(table, add)] = _file(table, add)
    for number in later:
        _apply(table, _read(client, bucket, log + commits[number]), live)
    # The checkpoint's own commit tells readers of the log alone which version there is.
    kept = [commits[number] for number in sorted(commits) if number >= (begin or 0)]
    return Snapshot(version, prefix, tuple(log + name for name in (*parts, *kept)), live)


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


@dataclass(frozen=True)
class Changes:
    """What may differ between two versions: nothing, or the rows where `condition` holds (all if ""). Where files were
    added and nothing else, these are `files`."""

    condition: str = ""
    partitions: tuple[str, ...] = ()
    """The values of the first partition column that `condition` names."""
    files: tuple[str, ...] = ()
    is_nothing: bool = False


class DeltaLog:
    """Looks at the logs of one bucket's tables; remembers where each ended, so that a look is one request."""

    def __init__(self, settings: Settings) -> None:
        self._client = s3_client(settings)
        self._bucket = settings.bucket
        self._versions: dict[str, int] = {}
        self._listed: dict[str, float] = {}
        self._commits: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def version(self, table: Table) -> int | None:
        """The newest version; None when the table does not exist."""
        name, known = table.full_name, self._versions.get(table.full_name)
        if known is None or time.monotonic() - self._listed[name] >= LIST_SECONDS:
            if not (commits := log_versions(_names(self._client, self._bucket, _log_of(table)))[0]):
                return None
            known, self._listed[name] = max(commits), time.monotonic()
        while self._actions(table, known + 1) is not None:
            known += 1
        self._versions[name] = known
        return known

    def changes(self, table: Table, old: int, new: int) -> Changes:
        """What differs between the versions `old` and `new`."""
        if not 0 < new - old <= MOST_COMMITS:
            return Changes(is_nothing=True) if new == old else Changes()
        self._forget(table, old)
        added: list[dict[str, Any]] = []
        removed: list[dict[str, Any]] = []
        for version in range(old + 1, new + 1):
            actions = self._actions(table, version)
            if actions is None or any("metaData" in action for action in actions):
                return Changes()
            added += [action["add"] for action in actions if action.get("add", {}).get("dataChange")]
            removed += [action["remove"] for action in actions if action.get("remove", {}).get("dataChange")]
        if not added and not removed:
            return Changes(is_nothing=True)
        is_plain = not removed and not any(file.get("deletionVector") for file in added)
        files = tuple(_path(table, file) for file in added) if is_plain else ()
        if not table.partition_by:
            return Changes(files=files)
        # A remove may name no partition; then it cannot be told where rows went.
        if any(file.get("partitionValues") is None for file in (*added, *removed)):
            return Changes()
        return replace(_in_partitions(table, (*added, *removed)), files=files)

    def _forget(self, table: Table, old: int) -> None:
        """Commits are kept while somebody asks for what changed since: those of a table that is held back are asked
        for again and again."""
        self._commits = {
            key: found for key, found in self._commits.items() if key[0] != table.full_name or key[1] > old
        }

    def _actions(self, table: Table, version: int) -> list[dict[str, Any]] | None:
        if (known := self._commits.get((table.full_name, version))) is not None:
            return known
        if (actions := entry(self._client, self._bucket, table, version)) is not None:
            self._commits[table.full_name, version] = actions
        return actions


def entry(client: Any, bucket: str, table: Table, version: int) -> list[dict[str, Any]] | None:
    """The actions of one version; None when it is not there: not yet, or no more."""
    from botocore.exceptions import ClientError

    try:
        return _actions_in(_read(client, bucket, _commit(_log_of(table), version)))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise


def _log_of(table: Table) -> str:
    return f"{table.layer}/{table.name}/_delta_log/"


def _names(client: Any, bucket: str, log: str) -> list[str]:
    """What is in a log, without its folder."""
    return [str(found["Key"])[len(log) :] for found in listed(client, bucket, log)]


def _read(client: Any, bucket: str, key: str) -> bytes:
    body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def _actions_in(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line.strip()]


def _checkpointed(body: bytes) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet

    table = parquet.ParquetFile(io.BytesIO(body)).read(columns=_COLUMNS)
    yield from (add for add in table.column("add").to_pylist() if add and add.get("path") is not None)


def _apply(table: Table, body: bytes, live: dict[str, DataFile]) -> None:
    for action in _actions_in(body):
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


def _commit(prefix: str, version: int) -> str:
    return f"{prefix}{version:020}.json"


def _in_partitions(table: Table, files: tuple[dict[str, Any], ...]) -> Changes:
    """The partitions of these files; of several partition columns the first suffices."""
    column = table.partition_by[0]
    values = {file["partitionValues"].get(column) for file in files}
    known = sorted(value for value in values if value is not None)
    listed = ", ".join(map(quoted_text, known))
    parts = [f"{quoted_name(column)} IN ({listed})"] if listed else []
    if None in values:
        parts.append(f"{quoted_name(column)} IS NULL")
    return Changes(f"({' OR '.join(parts)})", () if None in values else tuple(known))
