"""How many events a second go through the one process that folds them: `python -m benchmarks.fold`.

Judged micro-batches of growing size come as they come from Spark, in Arrow, while the window of three hours is full.
Each is folded, written to gold, bronze and silver, and booked. The limit of an interval is the rate at which that takes
half of it; the other half is for reading the next batch and for a peak.
"""

import statistics
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated

import duckdb
import pyarrow as pa
import typer

from benchmarks import traffic
from benchmarks.figures import Figure, report
from benchmarks.live import FILLED, PRODUCTS, USERS, WINDOW, made
from lakehouse.catalog import TABLES
from lakehouse.lake import Lake, arrow_schema
from lakehouse.session import connect
from lakehouse.settings import Settings
from lakehouse.stream.micro_batch import MicroBatch
from lakehouse.stream.recovery import Start
from lakehouse.stream.writer import Writer
from silver import events as silver_events

INTERVALS = (1, 5, 30)
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 600_000)
_RECORDS = """
SELECT *, 'shop.page_views' AS topic, 0::INT AS "partition", {first} + row_number() OVER () AS "offset",
    event_time AS kafka_timestamp, NULL::VARCHAR AS reason_code, NULL::VARCHAR AS reason_detail,
    user_id::BLOB AS key, to_json(filled)::VARCHAR::BLOB AS value, event_time::DATE AS event_date
FROM ({filled}) AS filled
"""


def main(
    window_rate: Annotated[int, typer.Option(help="Events per second of the three hours that the window has.")] = 5_000,
    rounds: Annotated[int, typer.Option(help="Micro-batches of each size; the first is not counted.")] = 6,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/fold.json."""
    with traffic.started(stream=False) as (settings, say):
        say("Filling the window")
        batch = _with_full_window(settings, window_rate)
        took = []
        for size in SIZES:
            say(f"Micro-batches of {size:,}")
            took.append(statistics.median(_seconds(batch, size, number) for number in range(rounds)[1:]))
    figures = [Figure(f"micro-batch of {size:,}", seconds, "s") for size, seconds in zip(SIZES, took, strict=True)]
    figures += [_limit(interval, took) for interval in INTERVALS]
    report("fold", f"python -m benchmarks.fold --window-rate {window_rate} --rounds {rounds}", figures)


def _with_full_window(settings: Settings, rate: int) -> MicroBatch:
    session, now = str(uuid.uuid4()), datetime.now(UTC)
    spark = connect(settings, session)
    Lake(spark, settings).create_tables(TABLES)
    batch = MicroBatch(settings, Start({}), settings.checkpoints, Writer(settings).take(session))
    batch._prepare(spark, now)
    batch._fold.load(made(now - WINDOW, int(rate * WINDOW.total_seconds())), batch._tag(), now)
    batch._fold.hold(None)
    return batch


def _seconds(batch: MicroBatch, size: int, number: int) -> float:
    """How long one micro-batch takes, from the judged records to the book."""
    records = _judged(size, first=size * 1_000 + size * number)
    began = time.monotonic()
    now = datetime.now(UTC)
    batch._prepare(batch._lake.spark, now)
    batch._process(records, None, size + number, now)
    return time.monotonic() - began


def _judged(events: int, first: int) -> pa.Table:
    """Valid records of the last second, as the stream's plan judges them."""
    begin = int((datetime.now(UTC) - timedelta(seconds=1)).timestamp() * 1e6)
    filled = FILLED.format(users=USERS, products=PRODUCTS, start=begin, step=1e6 / events, events=events)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        records = connection.execute(_RECORDS.format(first=first, filled=filled)).to_arrow_table()
    for field in arrow_schema(silver_events.TABLE):
        if field.name not in records.column_names:
            records = records.append_column(field.name, pa.nulls(records.num_rows, field.type))
    return records.drop_columns("processed_at")


def _limit(interval: int, took: Sequence[float]) -> Figure:
    """The rate at which a batch takes half of the interval, between the sizes measured; or the largest one's."""
    for (less, small), (more, large) in pairwise(zip(took, SIZES, strict=True)):
        if less <= interval / 2 < more:
            size = small + (large - small) * (interval / 2 - less) / (more - less)
            return Figure(f"half of {interval} s taken at", size / interval, "events/s")
    return Figure(f"half of {interval} s not taken at", SIZES[-1] / interval, "events/s")


if __name__ == "__main__":
    typer.run(main)
