"""Commits to a Delta table by who knows its newest version: two requests each, the rows' file and the next entry of the
log, by S3's conditional PUT. Neither grows with the table or with its log.

delta-rs lists the log twice with each commit, reads its own entry twice, and walks through all files of the table. A
stream makes ten commits a second. What is written here is the protocol's writer version 2:
https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import reduce
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from lakehouse.delta_log import entry
from lakehouse.s3 import inside
from lakehouse.table import Table

Action = dict[str, Any]
_CHARACTERS = 32
"""Statistics of texts are cut off there, as Delta does."""
_READERS = 8


class TakenError(Exception):
    """Another writer has made this version."""


class File(NamedTuple):
    """A data file as the log names it; the partition's values as text."""

    path: str
    size: int
    partition: tuple[str | None, ...]


@dataclass(frozen=True)
class Head:
    """A version of a table: its columns, and its data files where somebody wants to know. `looked` is the version at
    which the whole table was looked at; columns and properties are those since."""

    version: int
    schema: pa.Schema
    files: tuple[File, ...] | None
    looked: int

    def after(self, table: Table, actions: Sequence[Action]) -> Head:
        """The next version, which these actions make."""
        if self.files is None:
            return replace(self, version=self.version + 1)
        gone = {action["remove"]["path"] for action in actions if "remove" in action}
        kept = [file for file in self.files if file.path not in gone]
        return replace(self, version=self.version + 1, files=(*kept, *_added(table, actions)))

    def on(self, days: Iterable[date] | None) -> list[File]:
        """The files of some days, in a table that is partitioned by day; of all without any."""
        wanted = None if days is None else {str(day) for day in days}
        return [file for file in self.files or () if wanted is None or file.partition[0] in wanted]


def _added(table: Table, actions: Iterable[Action]) -> Iterator[File]:
    for action in actions:
        if add := action.get("add"):
            values = add["partitionValues"]
            yield File(add["path"], add["size"], tuple(values.get(name) for name in table.partition_by))


def caught_up(client: Any, bucket: str, table: Table, head: Head, until: int | None = None) -> Head | None:
    """The newest version, or `until`, by the entries after `head`; None when one changed the table's columns or
    properties: whoever began before that begins anew, with new files."""
    while head.version != until and (actions := entry(client, bucket, table, head.version + 1)) is not None:
        if any("metaData" in action or "protocol" in action for action in actions):
            return None
        head = head.after(table, actions)
    return head


def add(client: Any, bucket: str, table: Table, rows: pa.Table) -> list[Action]:
    """Write rows, shaped as the table is, into a file per partition. A commit has to name it."""
    now = int(time.time() * 1000)
    return [_add(client, bucket, table, part, values, now) for values, part in _parts(table, rows) if part.num_rows]


def _parts(table: Table, rows: pa.Table) -> Iterator[tuple[dict[str, str | None], pa.Table]]:
    if not table.partition_by:
        yield {}, rows
        return
    names = list(table.partition_by)
    own, found = rows.drop_columns(names), rows.select(names).group_by(names).aggregate([]).to_pylist()
    for values in found:
        is_here = (
            pc.is_null(rows.column(name)) if value is None else pc.equal(rows.column(name), value)
            for name, value in values.items()
        )
        part = own if len(found) == 1 else own.filter(reduce(pc.and_, is_here))
        yield {name: None if value is None else str(value) for name, value in values.items()}, part


def _add(client: Any, bucket: str, table: Table, rows: pa.Table, values: dict[str, str | None], now: int) -> Action:
    sink = io.BytesIO()
    parquet.write_table(rows, sink, store_schema=False)
    # Readers go by the values that the log names. As in Spark's tables, a folder tells a person of them.
    folder = "".join(f"{name}={value}/" for name, value in values.items() if (value or "").replace("-", "").isalnum())
    path = f"{folder}part-{uuid.uuid4()}.snappy.parquet"
    client.put_object(Bucket=bucket, Key=f"{table.layer}/{table.name}/{path}", Body=sink.getvalue())
    return {
        "add": {
            "path": path,
            "partitionValues": values,
            "size": sink.tell(),
            "modificationTime": now,
            "dataChange": True,
            "stats": json.dumps(statistics(table, rows)),
        }
    }


def statistics(table: Table, rows: pa.Table) -> dict[str, Any]:
    """What readers pass over a file by: least and greatest values of the declared columns."""
    least, greatest, nulls = {}, {}, {}
    for name in (name for name in table.statistics if name in rows.column_names):
        values = rows.column(name)
        nulls[name] = values.null_count
        if values.null_count < len(values):
            found = pc.min_max(values).as_py()
            least[name], greatest[name] = _least(found["min"]), _greatest(found["max"])
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": greatest, "nullCount": nulls}


def _least(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"
    if isinstance(value, date):
        return str(value)
    return value[:_CHARACTERS] if isinstance(value, str) else value


def _greatest(value: Any) -> Any:
    if isinstance(value, datetime):
        return _least(value + timedelta(microseconds=-value.microsecond % 1000))
    if isinstance(value, str) and len(value) > _CHARACTERS:
        return f"{value[:_CHARACTERS]}\U0010ffff"
    return _least(value)


def remove(table: Table, file: File) -> Action:
    """Take a file out of the table."""
    return {
        "remove": {
            "path": file.path,
            "partitionValues": dict(zip(table.partition_by, file.partition, strict=True)),
            "size": file.size,
            "deletionTimestamp": int(time.time() * 1000),
            "dataChange": True,
            "extendedFileMetadata": True,
        }
    }


def put(
    client: Any, bucket: str, table: Table, version: int, actions: Sequence[Action], rows: int, **said: Any
) -> None:
    """Make a version of these actions, which add `rows`; the history says `said`. Raises TakenError."""
    info = {"timestamp": int(time.time() * 1000), "operation": "WRITE", "engineInfo": "Shoplake"}
    lines = [{"commitInfo": {**info, **said, "operationMetrics": {"num_added_rows": rows}}}, *actions]
    body = "\n".join(json.dumps(line, separators=(",", ":")) for line in lines).encode()
    key = f"{table.layer}/{table.name}/_delta_log/{version:020}.json"
    # A request that is repeated since its answer was lost meets what it wrote itself.
    if not put_new(client, bucket, key, body) and entry(client, bucket, table, version) != lines:
        raise TakenError(f"{table.full_name} has a version {version} already")


def put_new(client: Any, bucket: str, key: str, body: bytes) -> bool:
    """Put an object where there is none, by a conditional PUT; False when there is one, or somebody is putting it."""
    from botocore.exceptions import ClientError

    try:
        client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
            raise
        return False
    return True


def read(client: Any, bucket: str, table: Table, files: Sequence[File], schema: pa.Schema) -> pa.Table:
    """The rows of some files, in the types of `schema`."""

    def rows(file: File) -> pa.Table:
        path = inside(unquote(file.path), table.full_name)
        body = client.get_object(Bucket=bucket, Key=f"{table.layer}/{table.name}/{path}")["Body"].read()
        found = parquet.read_table(io.BytesIO(body), coerce_int96_timestamp_unit="us", partitioning=None)
        # Spark's UPDATE writes the partition's columns into the file, too.
        found = found.select([name for name in found.column_names if name not in table.partition_by])
        for name, value in zip(table.partition_by, file.partition, strict=True):
            found = found.append_column(name, pa.repeat(pa.scalar(value, pa.string()), found.num_rows))
        return shaped(found, schema)

    if len(files) == 1:
        return rows(files[0])
    with ThreadPoolExecutor(_READERS) as pool:
        return pa.concat_tables([schema.empty_table(), *pool.map(rows, files)])


def shaped(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` with the columns and types of `schema`; NULL in one that they lack."""
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
