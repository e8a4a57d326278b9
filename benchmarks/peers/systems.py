"""The systems that are compared, each of which takes its turn: ours, and the peers as processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from benchmarks import traffic
from benchmarks.peers.gold import Gold
from benchmarks.peers.place import Place
from lakehouse.errors import ShoplakeError
from lakehouse.s3 import delta_options, hadoop_options
from lakehouse.services.jars import class_path
from lakehouse.services.s3 import ensure_bucket
from lakehouse.services.service import java_home
from lakehouse.settings import Settings
from lakehouse.stream import control
from producer.topics import TOPICS

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "build" / "peers-venv"
SHARED = ("kafka", "s3")
"""Parts of the platform that every system works with."""


class Shoplake:
    """Ours: the query is stopped while it is not its turn."""

    name = "shoplake"
    guarantees: ClassVar = {
        "repeated events": "dropped for 3 h after arrival, with the same time at any age",
        "after a kill": "exactly once",
        "late events": "counted, up to 400 days",
        "bad records": "in quarantine with a reason",
        "gold": "all tables, with distinct users, revenue, fraud flags",
    }

    def __init__(self, settings: Settings) -> None:
        self._settings, self._last = settings, -1
        self.gold = Gold(settings, "top_products_hourly")

    def resume(self) -> None:
        """Have the query run."""
        self._last = traffic.last_batch(self._settings)
        control.want(self._settings, "running")

    def began(self) -> float:
        """When the first micro-batch of this turn began."""
        return traffic.began(self._settings, self._last)

    def pause(self) -> None:
        """End the query."""
        traffic.stop_stream(self._settings)

    def spent(self) -> tuple[float, float]:
        """Core-seconds so far, and GB now, of all parts."""
        return sum(traffic.processor(self._settings).values()), traffic.memory_gb(self._settings)


@dataclass(frozen=True)
class Kind:
    """A program of this folder, and what it gives."""

    module: str
    guarantees: dict[str, str]
    spark: dict[str, str] | None = None
    """Settings of a Spark that runs in this project's environment; None runs in the peers'."""


class Peer:
    """A program in a process of its own, which is halted while it is not its turn."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Start it in a bucket of its own, and halt it."""
        own = settings.model_copy(update={"bucket": f"peer-{name}"})
        ensure_bucket(own)
        kind, folder = KNOWN[name], settings.data_dir / "peers" / name
        folder.mkdir(parents=True)
        self.name, self.guarantees, self.gold = name, kind.guarantees, Gold(own, "product_views_hourly")
        self._settings, self._began, self._log = settings, time.time(), settings.logs / f"peer-{name}.log"
        place = Place(
            settings.bootstrap, list(TOPICS), own.bucket, str(folder), delta_options(own),
            {} if kind.spark is None else _spark(settings) | kind.spark,
        )  # fmt: skip
        python = str(VENV / "bin" / "python") if kind.spark is None else sys.executable
        env = {**place.environment(), "JAVA_HOME": str(java_home()), "PATHWAY_THREADS": str(CORES)}
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                [python, "-m", f"benchmarks.peers.{kind.module}"],
                env=os.environ | env,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to the group reaches what the process starts, and misses none
            )
        self.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._began = time.time()
        self._signal(signal.SIGCONT)

    def began(self) -> float:
        """When this turn began."""
        return self._began

    def pause(self) -> None:
        """Halt it."""
        self._signal(signal.SIGSTOP)

    def end(self) -> None:
        """Kill it."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def spent(self) -> tuple[float, float]:
        """Core-seconds so far, and GB now, of the peer, Kafka and S3. Raises ShoplakeError when it has ended."""
        if self._process.poll() is not None:
            raise ShoplakeError(f"{self.name} has ended: {self._log.read_text()[-2000:]}")
        processor, memory = traffic.processor(self._settings), traffic.memory(self._settings)
        seconds, size = traffic.spent(self._process)
        return seconds + sum(processor[one] for one in SHARED), size + sum(memory[one] for one in SHARED)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


System = Shoplake | Peer


@contextmanager
def started(settings: Settings, names: Iterable[str]) -> Iterator[list[System]]:
    """Ours and the peers of these names."""
    with ExitStack() as ends:
        systems: list[System] = [Shoplake(settings)]
        for name in names:
            systems.append(peer := Peer(name, settings))
            ends.callback(peer.end)
        yield systems


def _spark(settings: Settings) -> dict[str, str]:
    """What any Spark needs to read Kafka and to write Delta to this S3."""
    return {
        "spark.driver.extraClassPath": class_path("spark"),
        "spark.driver.memory": f"{settings.spark_memory_mb}m",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        **{f"spark.hadoop.{name}": value for name, value in hadoop_options(settings).items()},
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # A peer is halted while it is another's turn, for longer than Spark waits for a sign of life.
        "spark.network.timeout": "7200s",
    }


CORES = psutil.cpu_count() or 1
_TUNED = {
    "spark.sql.shuffle.partitions": str(CORES),
    "spark.databricks.delta.snapshotPartitions": str(CORES),
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
}
_COUNTS = {"bad records": "in bronze alone, without a word", "gold": "events and views per hour"}
_OF_SPARK = {
    "repeated events": "dropped for 3 h of event time",
    "after a kill": "exactly once, from its checkpoints",
    "late events": "dropped after 3 h, without a word",
    **_COUNTS,
}
_NATIVE = {
    "repeated events": "dropped for 3 h after arrival",
    "after a kill": "exactly once",
    "late events": "counted",
    **_COUNTS,
}
_PATHWAY = {
    "repeated events": "dropped, all ids in memory",
    "after a kill": "begins anew",
    "late events": "counted",
    "bad records": "in its log",
    "gold": "events and views per hour; no bronze, no silver",
}
KNOWN = {
    "spark": Kind("spark_defaults", _OF_SPARK, {}),
    "spark-tuned": Kind("spark_defaults", _OF_SPARK, _TUNED),
    "native": Kind("native_loop", _NATIVE),
    "pathway": Kind("pathway_loop", _PATHWAY),
}
