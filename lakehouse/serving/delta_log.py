"""What a Delta table's log says about its versions and what changed between two of them; no Spark, few requests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from lakehouse.object_keys import inside
from lakehouse.settings import Settings
from lakehouse.sql_text import quoted_name, quoted_text
from lakehouse.table import Table

MOST_COMMITS = 200
"""So many commits are looked at one by one; beyond them the whole table is read."""


@dataclass(frozen=True)
class Changes:
    """What differs between two versions: nothing, or the rows where `condition` holds (all if ""), of which `files` are
    all that is new, where nothing but files was added."""

    condition: str = ""
    partitions: tuple[str, ...] = ()
    """The values of the first partition column that `condition` names."""
    files: tuple[str, ...] = ()
    is_nothing: bool = False

    @property
    def only_added(self) -> bool:
        """Whether it suffices to add the rows of `files`."""
        return bool(self.files)

    @classmethod
    def unknown(cls) -> Changes:
        """Everything may differ."""
        return cls()


class DeltaLog:
    """Looks at the logs of one bucket's tables; remembers where each ended, so that a look is one request."""

    def __init__(self, settings: Settings) -> None:
        from lakehouse.s3 import s3_client

        self._client = s3_client(settings)
        self._bucket = settings.bucket
        self._versions: dict[str, int] = {}
        self._commits: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def version(self, table: Table) -> int | None:
        """The newest version; None when the table does not exist."""
        prefix = f"{table.layer}/{table.name}/_delta_log/"
        last = self._versions.get(table.full_name)
        after = {"StartAfter": _commit(prefix, last)} if last is not None else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **after)
        names = [str(found["Key"])[len(prefix) :] for page in pages for found in page.get("Contents", [])]
        versions = [
            int(name[:20]) for name in names if name.endswith(".json") and name[:20].isdigit() and len(name) == 25
        ]
        if versions:
            self._versions[table.full_name] = max(versions)
        return self._versions.get(table.full_name)

    def changes(self, table: Table, old: int, new: int) -> Changes:
        """What differs between the versions `old` and `new`."""
        if not 0 < new - old <= MOST_COMMITS:
            return Changes(is_nothing=True) if new == old else Changes.unknown()
        self._forget(table, old)
        added: list[dict[str, Any]] = []
        removed: list[dict[str, Any]] = []
        for version in range(old + 1, new + 1):
            actions = self._actions(table, version)
            if actions is None or any("metaData" in action for action in actions):
                return Changes.unknown()
            added += [action["add"] for action in actions if action.get("add", {}).get("dataChange")]
            removed += [action["remove"] for action in actions if action.get("remove", {}).get("dataChange")]
        if not added and not removed:
            return Changes(is_nothing=True)
        if not table.partition_by:
            is_plain = not removed and not any(file.get("deletionVector") for file in added)
            return Changes(files=_paths(table, added)) if is_plain else Changes.unknown()
        # A remove may name no partition; then it cannot be told where rows went.
        if any(file.get("partitionValues") is None for file in (*added, *removed)):
            return Changes.unknown()
        found = _in_partitions(table, (*added, *removed))
        is_plain = not removed and not any(file.get("deletionVector") for file in added)
        return replace(found, files=_paths(table, added)) if is_plain else found

    def _forget(self, table: Table, old: int) -> None:
        """Commits are kept while somebody asks for what changed since: those of a table that is held back are asked
        for again and again."""
        self._commits = {
            key: found for key, found in self._commits.items() if key[0] != table.full_name or key[1] > old
        }

    def _actions(self, table: Table, version: int) -> list[dict[str, Any]] | None:
        from botocore.exceptions import ClientError

        if (known := self._commits.get((table.full_name, version))) is not None:
            return known
        prefix = f"{table.layer}/{table.name}/_delta_log/"
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=_commit(prefix, version))["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        actions = [json.loads(line) for line in body.splitlines() if line.strip()]
        self._commits[table.full_name, version] = actions
        return actions


def _paths(table: Table, files: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(inside(unquote(file["path"]), table.full_name) for file in files)


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
