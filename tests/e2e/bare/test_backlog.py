"""A stream that starts far behind the broker, and one whose records the broker has deleted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from lakehouse import broker
from lakehouse.catalog import TABLES
from lakehouse.embedded.service import child_environment
from lakehouse.embedded.state import status
from lakehouse.lake import Lake
from lakehouse.progress import behind
from lakehouse.session import connect as connect_spark
from lakehouse.settings import Settings
from lakehouse.sql import connect
from producer.publish import publish
from producer.simulator import SimulationOptions, simulate
from producer.topics import TOPICS

pytestmark = pytest.mark.e2e
DAY_MS = 86_400_000
BATCH = 4_000
EVENTS = 12_000


@pytest.fixture(scope="module")
def small(lake: Settings) -> Settings:
    """The platform with its tables, for a stream that takes small batches."""
    spark = connect_spark(lake)
    Lake(spark, lake).create_tables(TABLES)
    spark.stop()
    return lake.model_copy(update={"max_offsets_per_batch": BATCH})


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


@pytest.mark.nightly
def test_a_backlog_is_worked_off_in_bounded_batches_with_bounded_memory(small: Settings, tmp_path: Path) -> None:
    sent = send(small, EVENTS, seed=31)
    most_mb = 0
    with stream(small, tmp_path / "stream.log") as process, connect(small) as reader:
        end = time.monotonic() + 400
        while behind(small, reader):
            assert process.poll() is None, (tmp_path / "stream.log").read_text()
            assert time.monotonic() < end, "the backlog was not worked off"
            most_mb = max(most_mb, status(small)["spark"]["memory_mb"])
            time.sleep(1)
        sizes = reader.query("select batch_id, sum(bronze_rows)::bigint as rows from ops.batches group by 1")
    assert sum(int(one["rows"]) for one in sizes) == sent
    assert max(int(one["rows"]) for one in sizes) <= BATCH + len(TOPICS) * small.topic_partitions
    assert f"{sent:,} records behind" in (tmp_path / "stream.log").read_text()
    assert most_mb <= small.spark_memory_mb + 1792


def test_records_that_kafka_deleted_before_they_were_read_stop_the_stream_loudly(
    small: Settings, tmp_path: Path
) -> None:
    send(small, 200, seed=32)
    _, end = broker.bounds(small, TOPICS)
    admin = KafkaAdminClient(bootstrap_servers=small.bootstrap)
    admin.delete_records(
        {
            TopicPartition(topic, int(partition)): offset
            for topic, each in end.items()
            for partition, offset in each.items()
        }
    )
    admin.close()
    with stream(small, tmp_path / "stream.log") as process:
        assert process.wait(120) == 1
    said = (tmp_path / "stream.log").read_text()
    assert "Kafka has deleted offsets" in said and "these records are lost" in said and "Traceback" not in said
