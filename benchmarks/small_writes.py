"""What a small Delta write costs, of which a micro-batch makes eight: `python -m benchmarks.small_writes`.

Ten rows at a time: appended under a name (`Transaction`), appended plainly, put in the place of a partition, and one
row read back. Milliseconds are medians of the second half, processor time is that of the Spark server per operation,
with what its compilers do. Nothing else runs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import psutil
import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, LongType, StringType, StructType
from rich.console import Console
from rich.table import Table as Shown

from lakehouse.embedded.state import status
from lakehouse.embedded.testing import platform
from lakehouse.lake import Lake, Transaction
from lakehouse.session import connect
from lakehouse.table import Table, column

COLUMNS = StructType(
    [
        column("id", LongType(), "number"),
        column("hour_date", StringType(), "partition"),
        column("value", DoubleType(), "value"),
    ]
)


def main(
    times: Annotated[int, typer.Option(help="How often each operation is done in a round.")] = 60,
    rounds: Annotated[int, typer.Option(help="Rounds; the first ones warm up, the last one counts.")] = 3,
    checkpoint_interval: Annotated[int, typer.Option(help="Commits between two checkpoints of a table's log.")] = 0,
) -> None:
    """Measure, and print a table."""
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="shoplake-writes-") as folder,
        console.status("Starting the platform"),
        platform(Path(folder)) as settings,
    ):
        spark = connect(settings)
        server = psutil.Process(status(settings)["spark"]["pid"])
        for number in range(rounds):
            found = _round(Lake(spark, settings), server, times, number, checkpoint_interval)
        spark.stop()
    shown = Shown("operation", "ms", "processor ms", title=f"Small writes, round {rounds} of {rounds}")
    for name, (milliseconds, processor) in found.items():
        shown.add_row(name, f"{milliseconds:,.0f}", f"{processor:,.0f}")
    console.print(shown)


def _round(
    lake: Lake, server: psutil.Process, times: int, number: int, interval: int
) -> dict[str, tuple[float, float]]:
    named, plain, replaced = (_table(f"{name}_{number}", interval) for name in ("named", "plain", "replaced"))
    lake.create_tables([named, plain, replaced])

    def rows(turn: int) -> DataFrame:
        made = lake.spark.range(10).select(
            "id", F.lit("2026-01-01").alias("hour_date"), F.lit(float(turn)).alias("value")
        )
        return made.coalesce(1)

    operations: dict[str, Callable[[int], object]] = {
        "append under a name": lambda turn: lake.append_once(named, rows(turn), Transaction("bench", turn)),
        "append": lambda turn: lake.append(plain, rows(turn)),
        "replace a partition": lambda turn: lake.replace(replaced, rows(turn), "hour_date IN ('2026-01-01')"),
        "read a row": lambda _turn: lake.read(replaced).where("hour_date = '2026-01-01'").limit(1).collect(),
    }
    return {name: _cost(operation, server, times) for name, operation in operations.items()}


def _cost(operation: Callable[[int], object], server: psutil.Process, times: int) -> tuple[float, float]:
    """Milliseconds, and processor milliseconds of the server, per operation."""
    took: list[float] = []
    before = sum(server.cpu_times()[:2])
    for turn in range(times):
        began = time.monotonic()
        operation(turn)
        took.append(time.monotonic() - began)
    spent = sum(server.cpu_times()[:2]) - before
    return statistics.median(took[times // 2 :]) * 1000, spent / times * 1000


def _table(name: str, interval: int) -> Table:
    properties = {"delta.checkpointInterval": str(interval)} if interval else {}
    return Table("bench", name, "a row", COLUMNS, ("id",), partition_by=("hour_date",), properties=properties)


if __name__ == "__main__":
    typer.run(main)
