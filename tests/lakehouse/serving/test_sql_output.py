"""How answers are printed: JSON, CSV, and tables for a terminal and for a pipe."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from lakehouse.errors import ShoplakeError
from lakehouse.serving import sql_output
from lakehouse.sql import Result

VALUES = {
    "moment": datetime(2026, 9, 1, 10, 15, 30, 123456, tzinfo=UTC),
    "day": date(2026, 9, 1),
    "money": Decimal("19.90"),
    "whole": Decimal(12),
    "nothing": None,
    "undefined": float("nan"),
    "endless": float("-inf"),
    "raw": b"\x00\xff{}",
    "lines": [{"product_id": 'p"1', "quantity": 2, "price": float("inf")}],
    "text": 'a "b", c\nd',
    "flag": True,
    "naive": datetime(2026, 9, 1),
}


def result(*rows: dict[str, object]) -> Result:
    return Result(tuple(VALUES), ("VARCHAR",) * len(VALUES), iter([tuple(row.values()) for row in rows]))


def test_json_is_a_list_of_objects() -> None:
    out = io.StringIO()
    sql_output.write_json(result(VALUES, VALUES), out)
    rows = json.loads(out.getvalue())
    assert len(rows) == 2
    assert rows[0] == {
        "moment": "2026-09-01T10:15:30.123456Z",
        "day": "2026-09-01",
        "money": 19.9,
        "whole": 12,
        "nothing": None,
        "undefined": None,
        "endless": None,
        "raw": "AP97fQ==",
        "lines": [{"product_id": 'p"1', "quantity": 2, "price": None}],
        "text": 'a "b", c\nd',
        "flag": True,
        "naive": "2026-09-01T00:00:00",
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("12345678901234567890123456789.123456789"), "12345678901234567890123456789.123456789"),
        (Decimal("2000000000000.000000003"), "2000000000000.000000003"),
        (Decimal("0.000000000"), "0"),
        (Decimal("-0.000000030"), "-0.00000003"),
        (Decimal("40.000000000"), "40"),
        (Decimal(1200), "1200"),
        (2**70, "1180591620717411303424"),
        ([Decimal("0.000000003")], "[0.000000003]"),
    ],
)
def test_no_digit_of_a_number_is_lost_in_json_and_csv(value: object, written: str) -> None:
    out = io.StringIO()
    sql_output.write_json(Result(("n",), ("DECIMAL",), iter([(value,)])), out)
    assert out.getvalue() == f'[\n{{"n":{written}}}\n]\n'
    if not isinstance(value, int):
        assert sql_output.exact_json({"n": value}) == f'{{"n":{written}}}'.encode()
    csv_out = io.StringIO()
    sql_output.write_csv(Result(("n",), ("DECIMAL",), iter([(value,)])), csv_out)
    assert "e" not in csv_out.getvalue().lower()
    assert "e" not in sql_output.cell(value).plain.lower()


@pytest.mark.parametrize(
    ("value", "read"),
    [("2891.440000000", "2891.44"), ("0.000000000", "0.00"), ("0.100000030", "0.10000003"), ("1.5", "1.5"), ("7", "7")],
)
def test_a_table_for_people_has_no_row_of_zeros(value: str, read: str) -> None:
    assert sql_output.cell(Decimal(value)).plain == read


def test_json_of_no_rows_is_an_empty_list() -> None:
    out = io.StringIO()
    sql_output.write_json(result(), out)
    assert json.loads(out.getvalue()) == []


def test_csv_is_rfc_4180_but_for_the_ends_of_lines() -> None:
    out = io.StringIO()
    sql_output.write_csv(result(VALUES), out)
    assert out.getvalue().endswith("\n") and "\r" not in out.getvalue()
    (row,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    assert row["money"] == "19.90"
    assert row["nothing"] == row["undefined"] == ""
    assert row["text"] == VALUES["text"]
    assert json.loads(row["lines"])[0]["price"] is None
    assert row["flag"] == "true"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_no_text_in_csv_is_a_formula_of_a_spreadsheet(text: str) -> None:
    out = io.StringIO()
    sql_output.write_csv(Result((text, "n"), ("VARCHAR", "DECIMAL"), iter([(text, Decimal("-1.5"))])), out)
    (head, row) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert head[0] == row[0] == f"'{text}" and row[1] == "-1.5"


def test_a_failing_first_row_writes_nothing() -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        raise ShoplakeError("no")
        yield ()

    out = io.StringIO()
    with pytest.raises(ShoplakeError):
        sql_output.write_json(Result(("a",), ("INTEGER",), rows()), out)
    assert out.getvalue() == ""


def printed(answer: Result, limit: int = 200, width: int = 100, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    sql_output.print_table(answer, console, limit)
    return console.file.getvalue()


def test_table_cuts_rows_with_a_note() -> None:
    numbers = Result(("n",), ("BIGINT",), iter([(number,) for number in range(5)]))
    text = printed(numbers, limit=3)
    assert "│ 2 │" in text
    assert "│ 3 │" not in text
    assert "the first 3 rows; there are more: --limit 0 shows all" in text


def test_table_aligns_numbers_and_disarms_control_characters() -> None:
    answer = Result(("name", "views"), ("VARCHAR", "BIGINT"), iter([("\x1b[31mred", 7), ("[bold]x", 12345)]))
    text = printed(answer)
    assert "│     7 │" in text
    assert "\\x1b[31mred" in text
    assert "[bold]x" in text


def test_table_prints_wide_rows_as_records_on_a_terminal() -> None:
    text = printed(result(VALUES), terminal=True, width=80)
    assert "── row 1" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_table_on_a_narrow_terminal_cuts_the_widest_column_only() -> None:
    row = ("shop.page_views", 1, 49022, "long " * 40)
    answer = Result(("topic", "partition", "offset", "value"), ("VARCHAR", "INTEGER", "BIGINT", "VARCHAR"), iter([row]))
    text = printed(answer, terminal=True, width=80)
    assert "│ shop.page_views │         1 │  49022 │ long long" in text and text.count("\n") == 6
    assert all(len(line) <= 80 for line in text.splitlines())


def test_table_cuts_nothing_in_a_pipe() -> None:
    long = "x" * 500
    assert long in printed(Result(("a",), ("VARCHAR",), iter([(long,)])))
