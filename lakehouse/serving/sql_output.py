"""How answers look: a table for people, CSV or JSON for programs. Rows are written as they arrive."""

import base64
import csv
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, islice
from typing import Any, TextIO
from uuid import UUID

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lakehouse.sql import Result
from lakehouse.terminal import visible

TABLE_ROWS = 200
CELL_WIDTH, ANY_WIDTH = 60, 1_000_000
FORMULA_BEGINS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are wide ones
EXPLAINED = ("explain_key", "explain_value")
_LAST_ZEROS = re.compile(r"(\.\d\d\d*?)0+$")
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
NUMBER_TYPES = (*NUMBERS, "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")


def plain(value: Any) -> Any:
    """A value as JSON knows it: moments in UTC with Z, times without a zone as they are, blobs as base64, no NaN."""
    converter = _CONVERTERS.get(type(value))
    return converter(value) if converter else value


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def digits(value: Decimal | float) -> str:
    """Every digit that counts, of a float six places, and no exponent."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    datetime: _moment,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: str,
    int: lambda value: value if abs(value) < 2**63 else orjson.Fragment(str(value)),
    float: lambda value: value if math.isfinite(value) else None,
    Decimal: lambda value: orjson.Fragment(digits(value)) if value.is_finite() else None,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
    UUID: str,
    list: lambda value: [plain(item) for item in value],
    tuple: lambda value: [plain(item) for item in value],
    dict: lambda value: {str(plain(key)): plain(item) for key, item in value.items()},
}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def exact_json(value: object) -> bytes:
    """As JSON: moments in UTC with `Z`, a decimal as a number with all its digits."""
    return orjson.dumps(value, default=_exact, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z)


def _exact(value: object) -> orjson.Fragment:
    if not isinstance(value, Decimal):
        raise TypeError
    return orjson.Fragment(digits(value))


def write_json(result: Result, out: TextIO, limit: int = 0) -> None:
    """A list of objects, one a line. The first rows are read before anything is written."""
    rows = _begun(result, limit)
    separator = "[\n"
    for row in rows:
        out.write(separator + _json({name: plain(value) for name, value in zip(result.columns, row, strict=True)}))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def write_csv(result: Result, out: TextIO, limit: int = 0) -> None:
    """RFC 4180 but for the ends of lines, which are a shell's; null is an empty field, nested values are JSON.

    A text that a spreadsheet would run as a formula gets an apostrophe before it, which spreadsheets hide.
    """
    rows = _begun(result, limit)
    writer = csv.writer(_Lines(out))
    writer.writerow(map(_no_formula, result.columns))
    writer.writerows([_field(value) for value in row] for row in rows)


class _Lines:
    """Ends each record with a line feed. The writer has to believe in both ends of lines, to quote texts with one."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, record: str) -> None:
        self._out.write(record.removesuffix("\r\n") + "\n")


def _field(value: Any) -> str:
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    value = plain(value)
    if value is None:
        return ""
    return _no_formula(value) if isinstance(value, str) else _json(value)


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_BEGINS) else text


def _begun(result: Result, limit: int) -> Iterator[tuple[Any, ...]]:
    """The rows, `limit` at most (0: all). The first is fetched now, so that a query's failure leaves no output."""
    rows = islice(result.rows, limit or None)
    return chain(list(islice(rows, 1)), rows)


def print_table(result: Result, console: Console, limit: int = TABLE_ROWS) -> None:
    """A table, or one block of lines per row when the columns do not fit the terminal; at most `limit` rows."""
    rows = list(islice(result.rows, limit + 1)) if limit else list(result.rows)
    if result.columns == EXPLAINED:
        for _, plan in rows:
            console.print(Text(visible(plan, keep="\n")), soft_wrap=True)
        return
    more = bool(limit) and len(rows) > limit
    cells = [[cell(value) for value in row] for row in (rows[:limit] if more else rows)]
    grid = _grid(result, cells, cut=console.is_terminal)
    needed = console.measure(grid, options=console.options.update(max_width=ANY_WIDTH)).maximum
    if not console.is_terminal:
        console.width = max(needed, 20)
    if needed > console.width and len(result.columns) > console.width // 12:
        _print_records(result, cells, console)
    else:
        console.print(grid)
    note = "1 row" if len(cells) == 1 else f"{len(cells):,} rows"
    note = f"the first {len(cells)} rows; there are more: --limit 0 shows all" if more else note
    console.print(Text(f"({note})", style="dim"), soft_wrap=True)


def cell(value: Any) -> Text:
    """A value as one line of text that cannot steer the terminal; null is dim."""
    if value is None:
        return Text("null", style="dim", no_wrap=True)
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
    elif isinstance(value, Decimal):
        text = _LAST_ZEROS.sub(r"\1", f"{value:f}")
    elif isinstance(value, float):
        text = str(value)
    else:
        shown = plain(value)
        text = shown if isinstance(shown, str) else _json(shown)
    return Text(visible(text), no_wrap=True)


def _grid(result: Result, cells: list[list[Text]], *, cut: bool) -> Table:
    table = Table(header_style="bold", show_lines=False)
    for name, kind in zip(result.columns, result.types, strict=True):
        is_number = kind.startswith(NUMBER_TYPES) and not kind.endswith("]")
        table.add_column(
            Text(visible(name), no_wrap=True),  # of the text, not of the column: only the widest columns give room then
            justify="right" if is_number else "left",
            overflow="ellipsis",
            max_width=CELL_WIDTH if cut else None,
        )
    for row in cells:
        table.add_row(*row)
    return table


def _print_records(result: Result, cells: list[list[Text]], console: Console) -> None:
    label = max(len(name) for name in result.columns)
    for number, row in enumerate(cells, start=1):
        console.print(Text(f"── row {number} ", style="dim"))
        for name, value in zip(map(visible, result.columns), row, strict=True):
            line = Text.assemble((f"{name:<{label}}  ", "bold"), value)
            console.print(line, no_wrap=True, overflow="ellipsis")
