"""Shared by gold tables of clock hours: when an hour began, when its rows were written."""

from collections.abc import Iterable

from pyspark.sql.types import DateType, StructField, StructType, TimestampType

from lakehouse.table import KEEP_HOURS, HourlyRows, Live, Table, column


def hourly_table(
    name: str,
    *,
    grain: str,
    columns: Iterable[StructField],
    keys: tuple[str, ...],
    reads: tuple[str, ...],
    rows: HourlyRows,
    live: Live | None = None,
    statistics: tuple[str, ...] = (),
) -> Table:
    """A table of `gold` whose rows each belong to a clock hour and are rewritten with it.

    `rows` computes `hour_start` and `columns` from the columns `reads` of silver events. Whoever writes the table
    adds the others, and `status` where it is declared: final, or provisional while the hour may still change.
    """
    return Table(
        layer="gold",
        name=name,
        grain=grain,
        schema=StructType(
            [
                column("hour_start", TimestampType(), "Start of the clock hour, UTC"),
                *columns,
                column("updated_at", TimestampType(), "When the row was written, UTC"),
                column("hour_date", DateType(), "Day of hour_start, UTC"),
            ]
        ),
        keys=("hour_start", *keys),
        partition_by=("hour_date",),
        statistics=("hour_start", *statistics),
        writer="delta-rs",
        fed="live",
        rows="replaced",
        keep_hours=KEEP_HOURS,
        newest="updated_at",
        reads=reads,
        hourly=rows,
        live=live,
    )
