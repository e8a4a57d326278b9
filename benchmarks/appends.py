"""What it costs to add rows to the large tables, by Spark and by delta-rs: `python -m benchmarks.appends`.

The same 8,000 judged records, kept in memory by each, are added to a bronze and a silver table made for that. Seconds
of a processor are those of the Spark server and of this process; both are warm.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import psutil
import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks import traffic
from benchmarks.figures import Figure, report
from bronze import events as bronze_events
from lakehouse.lake import Lake
from lakehouse.services.state import status
from lakehouse.session import connect
from lakehouse.table import Table
from silver import checks, deduplicate
from silver import events as silver_events

RECORDS = 8_000


def main(
    rounds: Annotated[int, typer.Option(help="How often each is measured, after as often to warm up.")] = 20,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/appends.json."""
    figures = []
    with traffic.started(stream=False) as (settings, _):
        lake = Lake(connect(settings), settings)
        server = psutil.Process(int(status(settings)["spark"]["pid"]))
        processes = [psutil.Process(), server, *server.children(recursive=True)]
        traffic.send(settings, traffic.live(RECORDS, 1, seed=7))
        now = datetime.now(UTC)
        raw = (
            lake.spark.read.format("kafka")
            .option("kafka.bootstrap.servers", settings.bootstrap)
            .option("subscribePattern", "shop[.].*")
            .load()
        )
        judged = checks.judge(bronze_events.from_kafka(raw)).withColumn("ingested_at", F.lit(now))
        kept = judged.withColumn("ingest_date", F.to_date("ingested_at")).persist()
        records = kept.toArrow()
        valid = records.filter(records.column("reason_code").is_null())
        bronze, silver = _made(lake, bronze_events.TABLE), _made(lake, silver_events.TABLE)
        by_spark, accepted = kept.select(*bronze.columns), deduplicate.accepted(deduplicate.valid(kept))
        ways: dict[str, Callable[[], object]] = {
            "bronze, Spark": lambda: _append(lake, bronze, by_spark),
            "bronze, delta-rs": lambda: lake.small.append(bronze, bronze_events.rows(records, now)),
            "silver, Spark": lambda: _append(lake, silver, accepted),
            "silver, delta-rs": lambda: lake.small.append(silver, silver_events.rows(valid, now)),
        }
        for name, way in ways.items():
            spent, took = _measured(way, processes, rounds)
            figures += [Figure(f"append to {name}, processor", spent, "core-s"), Figure(f"{name}, wall", took, "s")]
    report("appends", f"python -m benchmarks.appends --rounds {rounds}", figures)


def _made(lake: Lake, table: Table) -> Table:
    made = replace(table, name=f"{table.name}_appends")
    lake.create_tables([made])
    return made


def _append(lake: Lake, table: Table, rows: DataFrame) -> None:
    rows.coalesce(1).write.format("delta").mode("append").save(lake.path(table))


def _measured(way: Callable[[], object], processes: list[psutil.Process], rounds: int) -> tuple[float, float]:
    """Seconds of a processor, and of a clock, per call."""
    for _ in range(rounds):
        way()
    before, began = _processor(processes), time.monotonic()
    for _ in range(rounds):
        way()
    return (_processor(processes) - before) / rounds, (time.monotonic() - began) / rounds


def _processor(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes if process.is_running())


if __name__ == "__main__":
    typer.run(main)
