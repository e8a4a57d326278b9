"""Values that change with every micro-batch, kept out of the code that Spark generates."""

from __future__ import annotations

from datetime import date, datetime

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
