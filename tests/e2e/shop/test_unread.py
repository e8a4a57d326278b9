"""A stream that starts far behind the broker, and one whose records the broker has deleted.

Near the end of this folder: the shop's own stream stops for good.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from lakehouse import broker
from lakehouse.jobs import JOBS
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import State
from lakehouse.services import spark
from lakehouse.services.service import child_environment
from lakehouse.services.state import status
from lakehouse.settings import Settings
from lakehouse.sql import connect
from lakehouse.stream.progress import behind
from producer.publish import publish
from producer.simulator import SimulationOptions, simulate
from producer.topics import TOPICS
from tests.support.shop import DAY_MS, Shop, beside
from tests.support.shop_runs import ended, submit

pytestmark = pytest.mark.e2e


def send(settings: Settings, events: int, seed: int) -> int:
    options = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=seed, history_ms=3 * DAY_MS, history_events=events, malformed=0.01
    )
    return publish(simulate(options), settings).acked


@contextmanager
def stream(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The stream as a process of its own, with what it says in `log`."""
    command = [sys.executable, "-m", "lakehouse.cli", "stream"]
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=child_environment(settings), stdout=said, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class WorkedOff:
    """How a stream came up with a backlog."""

    settings: Settings
    sent: int
    sizes: list[int]
    """Records of each batch."""
    partitions: int
    """Of all topics: each may have one record more in a batch than its share."""
    said: str
    most_mb: int
    """Spark's memory at its height."""


def work_off(own: Settings, platform: Settings, folder: Path, events: int, batch: int) -> WorkedOff:
    settings = own.model_copy(update={"max_offsets_per_batch": batch})
    log, most_mb, sent = folder / "backlog.log", 0, send(settings, events, seed=events)
    with connect(settings) as reader:
        read_before = {int(one["batch_id"]) for one in reader.query("select distinct batch_id from ops.batches")}
        with stream(settings, log) as process:
            end = time.monotonic() + 600
            while behind(settings, reader):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, "the backlog was not worked off"
                most_mb = max(most_mb, status(platform)["spark"]["memory_mb"])
                time.sleep(1)
        found = reader.query("select batch_id, sum(bronze_rows)::bigint as rows from ops.batches group by 1")
    sizes = [int(one["rows"]) for one in found if int(one["batch_id"]) not in read_before]
    partitions = sum(map(len, broker.partitions(settings, TOPICS).values()))
    return WorkedOff(settings, sent, sizes, partitions, log.read_text(), most_mb)


@pytest.fixture(scope="module")
def read(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> WorkedOff:
    """How a backlog of three batches was read by a stream that knows of the lake's stream only what is in the lake, as
    on another machine."""
    shop.wait_until_read()
    registry = RunRegistry.open(shop.settings)
    stopped = ended(registry, submit(registry, JOBS["stream"], action="stop"))
    assert stopped.state == State.succeeded, stopped.error
    folder = tmp_path_factory.mktemp("backlog")
    return work_off(beside(shop.settings, folder), shop.settings, folder, 2_400, 800)


def assert_bounded(done: WorkedOff) -> None:
    settings = done.settings
    assert sum(done.sizes) == done.sent
    assert max(done.sizes) <= settings.max_offsets_per_batch + done.partitions
    assert f"{done.sent:,} records behind" in done.said
    assert done.most_mb <= spark.service(settings).memory_limit_mb


def test_a_backlog_is_worked_off_in_bounded_batches_with_bounded_memory(read: WorkedOff) -> None:
    assert_bounded(read)


@pytest.mark.nightly
def test_a_long_backlog_needs_no_more_memory(read: WorkedOff, shop: Shop, tmp_path: Path) -> None:
    assert_bounded(work_off(read.settings, shop.settings, tmp_path, 100_000, 20_000))


def test_records_that_kafka_deleted_before_they_were_read_stop_the_stream_loudly(
    read: WorkedOff, tmp_path: Path
) -> None:
    settings = read.settings
    send(settings, 200, seed=32)
    _, end = broker.bounds(settings, TOPICS)
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap)
    admin.delete_records(
        {
            TopicPartition(topic, int(partition)): offset
            for topic, each in end.items()
            for partition, offset in each.items()
        }
    )
    admin.close()
    with stream(settings, tmp_path / "stream.log") as process:
        assert process.wait(120) == 1
    said = (tmp_path / "stream.log").read_text()
    assert "Kafka has deleted offsets" in said and "these records are lost" in said and "Traceback" not in said
