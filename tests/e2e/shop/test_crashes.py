"""kill -9 of each process under load, and lost or old checkpoints: nothing is lost, nothing is doubled."""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructType

from lakehouse.lake import Lake
from lakehouse.ops import batches
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.services.state import status
from lakehouse.session import connect as connect_spark
from lakehouse.stream import control as stream_control
from lakehouse.stream import offset_log
from lakehouse.stream.progress import booked, stream_state
from lakehouse.table import Table, column
from producer.record import Record
from producer.simulator import SimulationOptions, simulate
from silver import events as silver_events
from tests.support.shop import DAY_MS, Shop, assert_books_balance, assert_gold_is_right, eventually, live_load
from tests.support.shop_runs import busy, ended, lived_legally, written_once

pytestmark = pytest.mark.e2e
BOOK, SILVER = batches.TABLE, silver_events.TABLE


def pid_of(shop: Shop, name: str) -> int | None:
    return status(shop.settings)[name].get("pid")


def killed_workers(shop: Shop) -> int:
    """Kill the processes that run micro-batches; how many there were. Others come and go meanwhile."""
    killed = 0
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid_of(shop, "spark")).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "foreach_batch_worker" in " ".join(process.cmdline()):
                    process.kill()
                    killed += 1
    return killed


def kill(shop: Shop, name: str) -> None:
    """kill -9 the process of a part, or one that Spark runs our batches in."""
    if name == "batch worker":
        eventually(lambda: killed_workers(shop) > 0, 60, "a process runs the micro-batches")
        return
    pid = pid_of(shop, name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def wait_until_back(shop: Shop, name: str, killed: int | None) -> None:
    """Return when a part runs again as another process than the one that was killed."""

    def is_back() -> bool:
        part = status(shop.settings)[name]
        return part["state"] == "up" and part.get("pid") not in (killed, None)

    eventually(is_back, 120, f"{name} is back")


def send_many(shop: Shop, events: int) -> None:
    """Records of the last hour, as fast as they go: the next batch has most of them."""
    options = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=99, history_ms=DAY_MS // 24, history_events=events, duplicates=0.02
    )
    shop.send(list(simulate(options)))


def checkpoint_of(shop: Shop) -> Path:
    """Where Spark notes the stream's batches."""
    return next((shop.settings.checkpoints / "stream").iterdir())


def has_begun_a_large_batch(shop: Shop) -> bool:
    """Whether the newest plan in the checkpoint reads thousands of records that are not in the book yet; live traffic
    alone makes batches of less."""
    checkpoint = checkpoint_of(shop)
    planned = offset_log.batches(checkpoint)
    planned_to = offset_log.planned_to(checkpoint, planned[-1]) or {}
    read = booked(shop.reader)
    new = (
        offset - read.get(topic, {}).get(partition, 0)
        for topic, each in planned_to.items()
        for partition, offset in each.items()
    )
    return sum(new) > 2_000


def test_whatever_is_killed_under_load_nothing_is_lost_or_doubled(shop: Shop) -> None:
    """One after another while traffic goes on, the next when the last is back: the stream in the middle of a large
    batch, with its checkpoint deleted, Spark with a run of a job in it. Alone and more often: nightly."""
    registry = RunRegistry.open(shop.settings)
    sending = live_load(shop, seed=100, seconds=60)
    for name in ("stream", "kafka", "batch worker", "s3", "spark"):
        time.sleep(2)
        run = busy(registry, "America/Lima") if name == "spark" else None
        if name == "stream":
            many = threading.Thread(target=send_many, args=(shop, 12_000))
            many.start()
            eventually(lambda: has_begun_a_large_batch(shop), 60, "a large batch has begun", pause=0.1)
            shutil.rmtree(shop.settings.checkpoints)
        killed = None if name == "batch worker" else pid_of(shop, name)
        kill(shop, name)
        wait_until_back(shop, "stream" if name == "batch worker" else name, killed)
    sending.join()
    many.join()
    assert_all_is_right(shop)
    assert run is not None
    done = ended(registry, run, 300)
    assert (done.state, done.attempt) == (State.succeeded, 2), done.error
    written_once(shop.settings, done)
    lived_legally(registry, run)


@pytest.mark.parametrize("lost", [[BOOK], pytest.param([BOOK, SILVER], marks=pytest.mark.nightly)])
def test_a_batch_that_was_cut_off_is_written_where_it_is_missing(shop: Shop, lost: list[Table]) -> None:
    """As if the stream had been killed before the book was written, or before silver was, too."""
    live_load(shop, seed=210 + len(lost), seconds=2).join()
    shop.wait_until_read()
    stream_control.want(shop.settings, "stopped")
    eventually(lambda: stream_state(shop.settings)["state"] == "stopped", 60, "it has stopped")
    lake = Lake(connect_spark(shop.settings), shop.settings)
    began = shop.ask("select max(started_at)::varchar as began from ops.batches")[0]["began"]
    for table in lost:
        column = "started_at" if table is BOOK else "processed_at"
        lake.spark.sql(f"DELETE FROM delta.`{lake.path(table)}` WHERE {column} = TIMESTAMP '{began}'").collect()
    lake.spark.stop()
    stream_control.want(shop.settings, "running")
    live_load(shop, seed=220 + len(lost), seconds=2).join()
    assert_all_is_right(shop)


def test_what_is_under_way_when_the_lake_is_taken_over_does_not_come_in(shop: Shop) -> None:
    lake = Lake(connect_spark(shop.settings), shop.settings)
    table = Table("bench", "fenced", "a row", StructType([column("id", LongType(), "Any number")]), ("id",))
    lake.create_tables([table])
    seconds = F.expr("reflect('java.lang.Thread', 'sleep', 8000L)")  # as a long recompute, without its work
    rows = lake.spark.range(1, numPartitions=1).select(F.when(seconds.isNull(), F.col("id")).alias("id"))
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(rows.write.format("delta").mode("append").save, lake.path(table))
        time.sleep(1)
        lake.fence([table], "another")
        assert not under_way.done()
        with pytest.raises(PySparkException, match="DELTA_METADATA_CHANGED"):
            under_way.result()
    assert lake.read(table).isEmpty()
    lake.spark.stop()


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["stream", "batch worker", "spark", "s3", "kafka"])
def test_kill_under_load(shop: Shop, name: str) -> None:
    sending = live_load(shop, seed=100 + len(name), seconds=12)
    time.sleep(5)
    kill(shop, name)
    sending.join()
    assert_all_is_right(shop)


def assert_all_is_right(shop: Shop) -> None:
    shop.wait_until_read(300)
    assert_books_balance(shop)
    assert_gold_is_right(shop)


@pytest.mark.nightly
def test_a_deleted_checkpoint_is_rebuilt(shop: Shop) -> None:
    sending = live_load(shop, seed=201, seconds=8)
    time.sleep(3)
    shutil.rmtree(shop.settings.checkpoints)
    kill_stream(shop)
    sending.join()
    assert_all_is_right(shop)


@pytest.mark.nightly
def test_a_restored_older_checkpoint_does_no_harm(shop: Shop) -> None:
    aside = shop.folder / "old-checkpoint"
    shutil.copytree(shop.settings.checkpoints, aside, dirs_exist_ok=True)
    live_load(shop, seed=202, seconds=8).join()
    shop.wait_until_read()
    kill_stream(shop)
    shutil.rmtree(shop.settings.checkpoints)
    shutil.copytree(aside, shop.settings.checkpoints)
    live_load(shop, seed=203, seconds=6).join()
    assert_all_is_right(shop)


def kill_stream(shop: Shop) -> None:
    kill(shop, "stream")
    killed_workers(shop)


def test_the_rolling_hour_moves_on_without_events(shop: Shop) -> None:
    def as_of() -> object:
        rows = shop.ask("select max(as_of) as as_of from gold.top_products_last_hour")
        return rows[0]["as_of"]

    before = as_of()
    eventually(lambda: as_of() != before, 60, "the rolling hour moves on when nothing happens")


@pytest.mark.nightly
def test_a_product_leaves_the_rolling_hour_without_events(shop: Shop) -> None:
    """Viewed more than any other until an hour before in half a minute; nothing happens in the shop after that."""
    shop.wait_until_read()
    viewed_at = datetime.now(UTC) - timedelta(minutes=59, seconds=30)

    def view(number: int) -> Record:
        event = {
            "event_id": f"leaving-{number}",
            "event_type": "product_view",
            "user_id": f"leaving-user-{number}",
            "timestamp": viewed_at.isoformat(),
            "data": {"product_id": "p-leaving"},
        }
        value = json.dumps(event).encode()
        return Record("shop.page_views", event["user_id"].encode(), value, time.time(), event["event_id"])

    shop.send([view(number) for number in range(2_000)])

    def is_in() -> bool:
        return bool(shop.ask("select 1 from gold.top_products_last_hour where product_id = 'p-leaving'"))

    eventually(is_in, 60, "the views are in the rolling hour")
    eventually(lambda: not is_in(), 120, "the product leaves the rolling hour when nothing happens")
