"""Values that are the same in all rows that are written together."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa


def with_constants(rows: pa.Table, **values: date | datetime | int | str) -> pa.Table:
    """`rows` with a column for each of `values`."""
    for name, value in values.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
    return rows
