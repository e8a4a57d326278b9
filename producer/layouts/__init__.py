"""Layouts that others write, read as events of the contract: one SQL statement per layout, run by DuckDB.

A statement reads `input` (the CSV's columns as text, or a JSON object `j` per line or item of a list) and gives one row
per event. DuckDB sorts, and puts the rows of an order together, on disk where memory ends.
"""

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import duckdb

from lakehouse.errors import UsageError
from producer.contract import TOPIC_OF_TYPE
from producer.record import FALLBACK_TOPIC, Record

MEMORY = "256MB"
LONGEST_LINE = 4 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Layout:
    """A layout, and the names by which the first line of a file tells it: columns, or fields of the first object."""

    name: str
    title: str
    marks: str
    is_json: bool = True


_REES46 = "event_time event_type product_id category_id category_code brand price user_id user_session"
LAYOUTS = (
    Layout("rees46", "REES46 CSV", _REES46, is_json=False),
    Layout("retailrocket", "RetailRocket CSV", "timestamp visitorid event itemid transactionid", is_json=False),
    Layout("segment", "Segment or RudderStack JSON", "messageId type"),
    Layout("ga4", "GA4 export JSON", "event_name event_timestamp event_params"),
    Layout("snowplow", "Snowplow enriched JSON", "app_id collector_tstamp event_id"),
)


def opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The file, unpacked when it is packed; its name may say otherwise."""
    return gzip.open(path, "rb") if _is_packed(path) else path.open("rb")


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def layout_of(path: Path) -> Layout | None:
    """The layout that the first line, or the first object of a document, tells; None for JSON of the contract, and for
    what is no layout at all. A packed file is unpacked once, to its end: DuckDB does not notice that one is cut off."""
    try:
        first = _first_line(path)
        with opened(path) as file:
            while isinstance(file, gzip.GzipFile) and file.read(LONGEST_LINE):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from error
    if document(path):
        first = next(documents(path, most=1), b"{}")
    is_json = first.startswith(b"{")
    names = _fields(first) if is_json else _columns(first)
    for layout in LAYOUTS:
        if layout.is_json == is_json and names.issuperset(layout.marks.split()):
            return layout
    if is_json or not first:
        return None
    known = ", ".join(layout.title for layout in LAYOUTS)
    raise UsageError(f"{path.name} is neither JSON of the contract nor {known}; its first line is not known.")


def _first_line(path: Path) -> bytes:
    """The first line that is not blank, up to LONGEST_LINE, without a mark of the byte order."""
    with opened(path) as file:
        lines = iter(partial(file.readline, LONGEST_LINE), b"")
        return next((text for line in lines if (text := line.removeprefix(BYTE_ORDER_MARK).strip())), b"")


def _columns(line: bytes) -> set[str]:
    try:
        return set(next(csv.reader([line.decode("utf-8", "replace")]), []))
    except csv.Error:  # no text
        return set()


def document(path: Path) -> str | None:
    """DuckDB's word for JSON that does not stand a line an object: a list, or objects printed over several lines, or
    written one behind another, as Firehose does."""
    first = _first_line(path)
    return "array" if first.startswith(b"[") else "unstructured" if first == b"{" or _holds_more(first) else None


def _holds_more(line: bytes) -> bool:
    """True if an object stands behind the first one."""
    text = line.decode("utf-8", "replace")
    try:
        return text[json.JSONDecoder().raw_decode(text)[1] :].lstrip().startswith("{")
    except (RecursionError, ValueError):
        return False


def _fields(text: bytes) -> set[str]:
    try:
        return set(json.loads(text))
    except (RecursionError, ValueError):
        return set()


def documents(path: Path, most: int | None = None) -> Iterator[bytes]:
    """The objects of a document, as they are written. All are read before the first is given, or `most`."""
    with _reading(path, None) as connection:
        connection.execute("CREATE TEMP TABLE found AS SELECT j FROM input LIMIT ?", [most])
        rows = connection.execute("FROM found")
        while chunk := rows.fetchmany(_AT_ONCE):
            yield from (text.encode("utf-8") for (text,) in chunk)


def records(path: Path, layout: Layout, shift_to: datetime | None, left_out: Counter[str]) -> Iterator[Record]:
    """The records of a file, by time. `left_out` counts, by name, the lines that the contract has no event type for."""
    with _reading(path, layout) as connection:
        rows = connection.execute(_EVENTS, {"shift": _shift(connection, path, shift_to) if shift_to else None})
        while chunk := rows.fetchmany(_AT_ONCE):
            for event_type, user, event_id, value, kind in chunk:
                if event_type is None:
                    left_out[kind or "no event"] += 1
                    continue
                topic = TOPIC_OF_TYPE.get(event_type, FALLBACK_TOPIC)
                yield Record(topic, user and user.encode("utf-8"), value.encode("utf-8"), 0.0, event_id)


@contextmanager
def _reading(path: Path, layout: Layout | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose view `input` is the file, and `event` its events in a layout. What it cannot read is a
    UsageError."""
    with TemporaryDirectory(prefix="shoplake-") as spill, closing(_connection(spill)) as connection:
        try:
            _prepare(connection, path, layout)
            yield connection
        except duckdb.Error as error:
            said = str(error).partition("\nPossible")[0].splitlines()[:3]
            what = "; ".join(line for line in said if line and not line.startswith("Original Line") and line[-1] != ":")
            title = layout.title if layout else "a list of JSON objects"
            raise UsageError(f"{path.name} cannot be read as {title}: {what}") from error


def _connection(spill: str) -> duckdb.DuckDBPyConnection:
    config: dict[str, Any] = {"memory_limit": MEMORY, "threads": 1, "temp_directory": spill}
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(_sql("macros"))
    return connection


def _sql(name: str) -> str:
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout | None) -> None:
    connection.execute("SET VARIABLE path = ?", [str(path)])
    packing, form = "gzip" if _is_packed(path) else "uncompressed", document(path)
    source = _DOCUMENT if form else _LINES if layout and layout.is_json else _COLUMNS
    connection.execute(source.format(longest=LONGEST_LINE, packing=packing, form=form))
    if layout:
        connection.execute(f"CREATE VIEW event AS {_sql(layout.name)}")


def _shift(connection: duckdb.DuckDBPyConnection, path: Path, shift_to: datetime) -> Any:
    until = shift_to.replace(tzinfo=None)
    last = connection.execute(_LAST, {"until": until}).fetchall()[0][0]
    if last is None:
        raise UsageError(f"{path.name} holds no event with a time, so it cannot be shifted.")
    return until - last


_COLUMNS = """
CREATE VIEW input AS FROM read_csv(getvariable('path'), header = true, all_varchar = true, delim = ',', quote = '"',
  escape = '"', comment = '', compression = '{packing}')
"""
_LINES = """
CREATE VIEW input AS SELECT try_cast(ltrim(line, chr(65279)) AS JSON) AS j
FROM read_csv(getvariable('path'), columns = {{line: 'VARCHAR'}}, auto_detect = false, header = false, delim = '',
  quote = '', escape = '', compression = '{packing}', max_line_size = {longest}, buffer_size = {longest})
WHERE trim(line) <> ''
"""
_DOCUMENT = """
CREATE VIEW input AS SELECT json AS j FROM read_json_objects(getvariable('path'), format = '{form}',
  compression = '{packing}', maximum_object_size = {longest})
"""
# What is recorded has happened: a time beyond is a clock that was wrong, and moves no other event.
_LAST = "SELECT coalesce(max(moment) FILTER (moment <= $until), max(moment)) FROM event WHERE event_type IS NOT NULL"
_EVENTS = """
SELECT event_type, user_id, event_id, told(whole(json_object(
    'event_id', event_id, 'event_type', event_type, 'user_id', user_id,
    'timestamp', coalesce(strftime(moment + coalesce($shift, INTERVAL 0 SECOND), '%Y-%m-%dT%H:%M:%S.%gZ'), said),
    'context', nullif(whole(context)::VARCHAR, '{}')::JSON, 'data', data))), kind
FROM event ORDER BY moment, event_id
"""
