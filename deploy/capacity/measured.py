"""What was measured, and where: the committed results of the benchmarks that sizes and bills are calculated from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.errors import UsageError

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
BULK = RESULTS / "bulk.json"
FOOTPRINT = RESULTS / "footprint.json"
RECOVERY = RESULTS / "recovery.json"
CLUSTER = RESULTS / "cluster.json"
_BULK_FIGURE = "bulk, Kafka → bronze → gold"
_HOT_FIGURE = "more per million events in the hot window"


@dataclass(frozen=True)
class Measured:
    """Figures of one event and of one micro-batch, from `bulk.json` and `footprint.json`.

    `cpu_seconds` is the time of a core per event from Kafka to gold, with everything else that ran on the measured
    machine in it (broker, S3 server). `hot_cpu_seconds` is the time of a core per micro-batch and event in the hot
    window. Bytes are per event, after compression; `tables_bytes` is all
    tables, compacted. Requests are S3's per micro-batch, by what they cost.
    """

    events_per_second: float
    cores: int
    sent_bytes: float
    broker_bytes: float
    tables_bytes: float
    puts_per_batch: float
    gets_per_batch: float
    small_batch_seconds: float
    hot_cpu_seconds: float

    @property
    def cpu_seconds(self) -> float:
        """Seconds of a core per event."""
        return self.cores / self.events_per_second


def measured(bulk: Path = BULK, footprint: Path = FOOTPRINT) -> Measured:
    """The committed figures. Raises UsageError when a file is missing or is not such a result."""
    speed, prints = _report(bulk), _report(footprint)
    found = _figures(footprint, prints)
    try:
        return Measured(
            events_per_second=_figures(bulk, speed)[_BULK_FIGURE],
            cores=int(speed["machine"]["cores"]),
            sent_bytes=found["event as sent"],
            broker_bytes=found["event on a broker's disk"],
            tables_bytes=found["bronze.events"] + found["silver.events"] + found["all other tables"],
            puts_per_batch=found["S3 PUT, LIST"],
            gets_per_batch=found["S3 GET, HEAD"],
            small_batch_seconds=found["small batch"],
            hot_cpu_seconds=found[_HOT_FIGURE] / 1e6,
        )
    except KeyError as missing:
        raise UsageError(f"{bulk.name} and {footprint.name} have no figure {missing}: measure again.") from None


def recovery_seconds(file: Path = RECOVERY) -> dict[str, float]:
    """Per part: the longest time after kill -9 until it worked again. Raises UsageError as `measured` does."""
    return {name.rpartition(" ")[2]: value for name, value in _figures(file, _report(file)).items()}


def cluster_figures(file: Path = CLUSTER) -> dict[str, float]:
    """What `benchmarks.cluster` measured, by name. Raises UsageError as `measured` does."""
    return _figures(file, _report(file))


def _report(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"The measured figures cannot be read from {file} ({error}).") from None
    if not isinstance(found, dict):
        raise UsageError(f"{file} is not a result of a benchmark.")
    return found


def _figures(file: Path, report: dict[str, Any]) -> dict[str, float]:
    try:
        return {str(one["name"]): float(one["value"]) for one in report["figures"]}
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{file} is not a result of a benchmark.") from None
