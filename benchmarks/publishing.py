"""How long a publish takes and how large the serving file is, with more history.

`python -m benchmarks.publishing` measures it alone: Delta tables on the embedded S3 server, and the publisher as the
platform runs it. The first publish reads everything; the next ones what an hour of the shop changes.
"""

import statistics
import tempfile
import time
from pathlib import Path

import duckdb
from deltalake import write_deltalake

from benchmarks.figures import Figure, report
from benchmarks.gold_api import DAYS, HISTORIES, make_file
from lakehouse.delta_log import DeltaLog
from lakehouse.s3 import delta_options
from lakehouse.services import s3
from lakehouse.services.child import alone
from lakehouse.serving.derived import Extras
from lakehouse.serving.evidence import COLUMNS as EVENT_COLUMNS
from lakehouse.serving.publisher import Publisher, Source, sources
from lakehouse.settings import Settings
from lakehouse.sql import connect
from tests.support.platform import free_settings

ROUNDS = 5
CHANGED_EACH_HOUR = ("gold.kpis_hourly", "gold.top_products_hourly", "gold.top_products_last_hour")


def main() -> None:
    """Measure, print, and write the figures into benchmarks/results/publishing.json."""
    figures: list[Figure] = []
    for times in HISTORIES:
        with tempfile.TemporaryDirectory(prefix="shoplake-bench-") as folder:
            first, change, size = _measure(Path(folder), times)
        history = f"{times} x {DAYS} days"
        figures += [
            Figure(f"{history}: first publish", first, "s"),
            Figure(f"{history}: publish of an hour's change, median", change, "s", "1"),
            Figure(f"{history}: serving file", size, "MB"),
        ]
    report("publishing", "python -m benchmarks.publishing", figures)


def _measure(folder: Path, times: int) -> tuple[float, float, float]:
    """Seconds of the first publish and of one after an hour's change, and the file's MB."""
    settings = free_settings(folder)
    rows = folder / "rows" / "rows.duckdb"
    make_file(rows, times)
    with alone(s3.service(settings), settings), duckdb.connect(str(rows)) as lake:
        lake.execute("SET TimeZone = 'UTC'")
        _write_events(lake, settings)
        filled = [source for source in sources() if lake.table(source.name).limit(1).fetchall()]
        for source in filled:
            _write(lake, settings, source)
        with connect(settings, settings.sql_memory_mb) as reader:
            publisher = Publisher(settings, reader, DeltaLog(settings), extras=Extras(settings, reader))
            first = _publish(publisher)
            changes = []
            for _ in range(ROUNDS):
                for source in filled:
                    if source.name in CHANGED_EACH_HOUR:
                        _write(lake, settings, source, newest_only=True)
                changes.append(_publish(publisher))
    return first, statistics.median(changes), settings.serving_file.stat().st_size / 1e6


def _publish(publisher: Publisher) -> float:
    began = time.monotonic()
    if not publisher.publish():
        raise RuntimeError("nothing was published")
    return time.monotonic() - began


def _write(lake: duckdb.DuckDBPyConnection, settings: Settings, source: Source, *, newest_only: bool = False) -> None:
    """Write a table of the lake, as the stream does: the newest partition alone, or all of it."""
    by = source.delta.partition_by
    where = f"{by[0]} = (SELECT max({by[0]}) FROM {source.name})" if newest_only and by else "true"  # noqa: S608 - the names are declared in this project
    moments = [f"{name} AT TIME ZONE 'UTC' AS {name}" for name, kind, _ in source.columns if kind == "TIMESTAMP"]
    replaced = f"REPLACE ({', '.join(moments)})" if moments else ""
    rows = lake.execute(f"SELECT * {replaced} FROM {source.name} WHERE {where}").to_arrow_table()  # noqa: S608 - the names are declared in this project
    write_deltalake(
        f"s3://{settings.bucket}/{source.delta.layer}/{source.delta.name}",
        rows,
        partition_by=list(by) or None,
        mode="overwrite",
        predicate=f"{by[0]} = '{rows.column(by[0])[0]}'" if newest_only and by else None,
        storage_options=delta_options(settings),
    )


def _write_events(lake: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """The events that the newest flags rest on."""
    columns = [f"NULL::{kind} AS {name}" for name, kind, _ in EVENT_COLUMNS if name not in ("event_id", "event_time")]
    events = "SELECT unnest(['e1', 'e2']) AS event_id, now() AS event_time, current_date AS event_date"
    rows = lake.execute(f"{events}, {', '.join(columns)}").to_arrow_table()
    address = f"s3://{settings.bucket}/silver/events"
    write_deltalake(address, rows, partition_by=["event_date"], storage_options=delta_options(settings))


if __name__ == "__main__":
    main()
