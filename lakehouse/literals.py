"""Values that are the same in all rows of a micro-batch: for Spark kept out of its generated code, and for Arrow."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F


def varying(value: date | datetime | int | str, beside: str) -> Column:
    """The value in every row, as `lit` gives it; null only where the column `beside` is.

    A plain literal is a constant in the generated code, so that a query that runs every second with another moment is
    generated, compiled and warmed up every time. An array is handed to the code as data, and is not folded into a
    constant while its index depends on the row (docs/decisions/compiled-code.md). Do not use it in a condition that
    should skip files.
    """
    first = F.least(F.length(F.col(beside).cast("string")), F.lit(0))
    return F.get(F.array(F.lit(value)), first)


def with_constants(rows: pa.Table, **values: date | datetime | int | str) -> pa.Table:
    """`rows` with a column for each of `values`."""
    for name, value in values.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
    return rows
