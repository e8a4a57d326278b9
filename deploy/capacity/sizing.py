"""The rules that turn a rate of events into a deployment. Each number below says why it is what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploy.capacity.measured import Measured
from deploy.capacity.prices import Broker, Prices

PEAK = 2.0
"""Evening peak over the day's average: what is sized for a moment (cores, brokers) is sized for it."""
BUSY = 0.6
"""Share of the cores that the stream may use at the peak; the rest catches up after a fault, and runs jobs."""
HOT_HOURS = 3.0
"""lakehouse/hot_window.py keeps the running hour and two full ones in Spark's memory."""
HOT_SECONDS = HOT_HOURS * 3600
HOT_ROW_BYTES = 350.0
"""Calculated: 18 columns of eight bytes and the text of the identifiers, as Spark lays out a row."""
HEAP_MB = {"m7i.xlarge": 6_144, "m7i.2xlarge": 14_336, "m7i.4xlarge": 32_768}
"""Spark's heap on an instance that does it all (deploy/aws/templates/compute.yaml)."""
EXECUTOR_HEAP_MB = 49_152
STORAGE_SHARE = 0.5
"""Share of Spark's heap that may keep rows; the other half is for what a batch needs."""
ALLOWED_BUSY_DISK = 0.5
"""Share of a broker's disk throughput that writing may use, with one broker of them gone."""
RECORDS_PER_CORE = 100_000
"""Most records of a micro-batch per core: about a minute's work of one, so that a batch of a backlog ends soon, and its
memory is bounded, whatever waits."""
ONE_MACHINE_CORES = 16
"""Up to here one machine does all, without a network between driver and executors."""
MOST_PARTITIONS = 512
MOST_BROKERS = 30
"""MSK's quota per cluster, and what the template takes."""
SMALLEST_BROKER_GIB = 50
SPARE_DISK = 0.5
"""Of what a broker keeps on average: the evening's records, and the segment that is written."""
LONG_RETENTION_HOURS, SHORT_RETENTION_HOURS = 168, 24
SHORT_RETENTION_FROM = 50_000.0
"""Events/s from which a week in Kafka costs more than all computing."""
SMALL_BROKERS_UP_TO = 100.0
INTERVALS = (1, 2, 5, 10, 20, 30, 60)
FILE_BYTES = 128 * 2**20
"""A data file larger than this is written by one task for too long."""
EXECUTOR_CORES = 15
"""All of an executor's machine but one, which the system keeps."""
NONCURRENT_DAYS = 14
"""Days that S3 keeps what a compaction replaced, after Delta has let go of it (deploy/aws/templates/data.yaml)."""
CLUSTER_MACHINE = "m7i.4xlarge"
"""The driver, which is the instance of the size `production`, and each executor."""


@dataclass(frozen=True)
class Sizing:
    """A deployment. Rates are events per second on average, retention is days of all tables."""

    rate: float
    retention_days: int
    cores: int
    machines: dict[str, int]
    executors: int
    partitions: int
    broker: str
    brokers: int
    broker_gib: int
    kafka_hours: int
    interval_seconds: int
    files_per_batch: int
    s3_gb_per_day: float
    s3_gb: float
    kafka_gb: float
    hot_window_gb: float
    puts_per_month: float
    gets_per_month: float
    gb_per_month: float


def size(rate: float, retention_days: int, measured: Measured, prices: Prices, interval: int | None = None) -> Sizing:
    """The deployment for `rate` events per second; `interval` seconds between micro-batches, or what the rule says."""
    hot_gb = rate * HOT_SECONDS * HOT_ROW_BYTES / 1e9
    seconds = interval or _interval(rate, hot_gb, measured, prices)
    cores = _cores(rate, seconds, measured)
    machines, executors = _machines(cores, hot_gb, prices)
    kafka_hours = SHORT_RETENTION_HOURS if rate >= SHORT_RETENTION_FROM else LONG_RETENTION_HOURS
    (machine,) = machines
    partitions = partitions_for(executors * EXECUTOR_CORES if executors else prices.instances[machine].vcpu)
    broker, brokers = _brokers(rate, measured, partitions, prices)
    kafka_gb = rate * 3600 * kafka_hours * measured.broker_bytes * 3 / 1e9
    per_day = rate * 86_400 * measured.tables_bytes / 1e9
    files = max(1, math.ceil(rate * PEAK * seconds * measured.tables_bytes / FILE_BYTES))
    batches = prices.month_hours * 3600 / max(seconds, measured.small_batch_seconds)
    return Sizing(
        rate=rate,
        retention_days=retention_days,
        cores=cores,
        machines=machines,
        executors=executors,
        partitions=partitions,
        broker=broker,
        brokers=brokers,
        broker_gib=_broker_gib(kafka_gb, brokers),
        kafka_hours=kafka_hours,
        interval_seconds=seconds,
        files_per_batch=files,
        s3_gb_per_day=per_day,
        # Each event is written again by a compaction; what that replaced is kept for 24 hours by Delta, then by S3.
        s3_gb=per_day * (retention_days + 1 + NONCURRENT_DAYS),
        kafka_gb=kafka_gb,
        hot_window_gb=hot_gb,
        puts_per_month=batches * (measured.puts_per_batch + files - 1),
        gets_per_month=batches * (measured.gets_per_batch + files - 1),
        gb_per_month=rate * prices.month_hours * 3600 * measured.broker_bytes / 1e9,
    )


def _cores(rate: float, seconds: int, measured: Measured) -> int:
    """Cores for the events, and for looking through the hot window once per micro-batch."""
    per_event = measured.cpu_seconds + HOT_SECONDS / seconds * measured.hot_cpu_seconds
    return max(2, math.ceil(rate * PEAK * per_event / BUSY))


def _machines(cores: int, hot_gb: float, prices: Prices) -> tuple[dict[str, int], int]:
    """Machines by type, and how many of them are executors (0: the driver does the work)."""
    for name, instance in prices.instances.items():
        is_enough = instance.vcpu >= cores and HEAP_MB[name] / 1000 * STORAGE_SHARE >= hot_gb
        if is_enough and instance.vcpu <= ONE_MACHINE_CORES:
            return {name: 1}, 0
    by_cores = cores / EXECUTOR_CORES
    by_memory = hot_gb / (EXECUTOR_HEAP_MB / 1000 * STORAGE_SHARE)
    executors = max(2, math.ceil(max(by_cores, by_memory)))
    return {CLUSTER_MACHINE: 1 + executors}, executors


def partitions_for(cores: int) -> int:
    """Partitions per topic: as many as cores there are, so that the largest topic alone can keep all of them busy."""
    power = math.ceil(math.log2(max(2, cores)))
    return min(MOST_PARTITIONS, 1 << power)


def records_per_batch(cores: int) -> int:
    """Most Kafka records in one micro-batch."""
    return cores * RECORDS_PER_CORE


def _brokers(rate: float, measured: Measured, partitions: int, prices: Prices) -> tuple[str, int]:
    """The cheapest brokers, in threes for three zones, that write every replica at the peak with one of them gone."""
    replicas = 4 * partitions * 3
    written_mb_s = rate * PEAK * measured.broker_bytes * 3 / 1e6

    def needed(broker: Broker) -> int:
        by_disk = 1 + written_mb_s / (broker.disk_mb_s * ALLOWED_BUSY_DISK)
        return 3 * math.ceil(max(3.0, by_disk, replicas / broker.partitions) / 3)

    fit = {name: one for name, one in prices.brokers.items() if one.is_large or rate <= SMALL_BROKERS_UP_TO}
    allowed = {name: one for name, one in fit.items() if needed(one) <= MOST_BROKERS} or fit
    cheapest = min(allowed, key=lambda name: needed(allowed[name]) * allowed[name].hour)
    return cheapest, needed(allowed[cheapest])


def _broker_gib(kafka_gb: float, brokers: int) -> int:
    """Disk of each broker: what is kept and half as much again, in steps of 50."""
    return max(SMALLEST_BROKER_GIB, 50 * math.ceil(kafka_gb / brokers * (1 + SPARE_DISK) * 1e9 / 2**30 / 50))


def _interval(rate: float, hot_gb: float, measured: Measured, prices: Prices) -> int:
    """The shortest of INTERVALS that leaves a small batch half of its time, in which looking through the hot window
    takes no more than the events themselves, and whose S3 requests cost at most half of what the machines cost: at low
    rates it is the requests, not the events, that are paid for."""
    shortest = max(2 * measured.small_batch_seconds, HOT_SECONDS * measured.hot_cpu_seconds / measured.cpu_seconds)
    for seconds in INTERVALS:
        machines, _ = _machines(_cores(rate, seconds, measured), hot_gb, prices)
        budget = sum(count * prices.instances[name].hour for name, count in machines.items()) / 2
        an_hour = 3600 / seconds * prices.requests(measured.puts_per_batch, measured.gets_per_batch)
        if seconds >= shortest and an_hour <= budget:
            return seconds
    return INTERVALS[-1]
