"""The monthly bill of a deployment, by service."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from deploy.capacity.measured import Measured
from deploy.capacity.prices import Prices
from deploy.capacity.sizing import EXECUTOR_CORES, LONG_RETENTION_HOURS, Sizing, records_per_batch

CROSSING = 2 / 3
"""With three zones, two of three bytes go to a broker in another zone, and come from one."""
ROOT_DISK_GB, EXECUTOR_DISK_GB = 40, 200
DATA_DISK_GB = {"demo": 50, "team": 200, "production": 200}
DATA_DISK_MIB_S = {"demo": 125, "team": 250, "production": 250}
FREE_DISK_MIB_S = 125
"""Throughput that a gp3 volume has without paying for it."""
LOG_GB_PER_MACHINE, METRICS, SECRETS = 5, 40, 4
ENDPOINTS, ENDPOINT_ZONES = 6, 2
NAT_GB, DATABASE_GB = 10, 20
"""Packages at an installation and what AWS's services without an endpoint take; S3 and Kafka do not go through it."""
JOB_VCPUS, JOB_HOURS_PER_DAY = 16, 1.0
TOPICS = 4
LEAST_KAFKA_HOURS = 24
"""A night's outage must not cost records."""
FRESHNESS_SECONDS, BATCHES_UNTIL_STALE = 300, 4
"""The alarm's default, and so many micro-batches as are usual and no alarm."""


class Kind(StrEnum):
    """Sizes of deploy/aws: the broker on the instance, MSK Serverless, or MSK brokers with PostgreSQL and endpoints."""

    demo = "demo"
    team = "team"
    production = "production"


@dataclass(frozen=True)
class Line:
    """A line of the bill: USD per month and how it comes about."""

    service: str
    what: str
    usd: float


def bill(sizing: Sizing, prices: Prices, kind: Kind = Kind.production) -> list[Line]:
    """Every service of a deployment of this kind, with as many machines as the rate needs."""
    return [
        *_machines(sizing, prices, kind),
        *_kafka(sizing, prices, kind),
        *_lake(sizing, prices),
        *_around(sizing, prices, kind),
    ]


def _machines(sizing: Sizing, prices: Prices, kind: Kind) -> list[Line]:
    computing = sum(prices.instances[name].hour * count for name, count in sizing.machines.items()) * prices.month_hours
    disks = DATA_DISK_GB[kind] + ROOT_DISK_GB + sizing.executors * EXECUTOR_DISK_GB
    faster = DATA_DISK_MIB_S[kind] - FREE_DISK_MIB_S
    return [
        Line("EC2", " + ".join(f"{count} x {name}" for name, count in sizing.machines.items()), computing),
        Line(
            "EBS",
            f"{disks:,} GB gp3, {faster} MiB/s above its own",
            disks * prices.ebs_gp3_gb_month + faster * prices.ebs_gp3_mib_s_month,
        ),
    ]


def _kafka(sizing: Sizing, prices: Prices, kind: Kind) -> list[Line]:
    if kind is Kind.demo:
        return []
    hours = prices.month_hours
    if kind is Kind.team:
        partitions = TOPICS * sizing.partitions
        return [
            Line(
                "MSK Serverless",
                f"a cluster, {partitions} partitions, {sizing.gb_per_month:,.0f} GB in and out, "
                f"{sizing.kafka_gb / 3:,.0f} GB kept",
                (prices.serverless_cluster_hour + partitions * prices.serverless_partition_hour) * hours
                + sizing.gb_per_month * (prices.serverless_in_gb + prices.serverless_out_gb)
                + sizing.kafka_gb / 3 * prices.broker_storage_gb_month,
            )
        ]
    crossing_gb = sizing.gb_per_month * CROSSING * 2
    return [
        Line(
            "MSK brokers",
            f"{sizing.brokers} x {sizing.broker}",
            sizing.brokers * prices.brokers[sizing.broker].hour * hours,
        ),
        Line(
            "MSK storage",
            f"{sizing.brokers} x {sizing.broker_gib:,} GiB; {sizing.kafka_gb:,.0f} GB in it: {sizing.kafka_hours} h, "
            "3 replicas",
            sizing.brokers * sizing.broker_gib * prices.broker_storage_gb_month,
        ),
        Line(
            "Traffic between zones",
            f"{crossing_gb:,.0f} GB, to the brokers and from them",
            crossing_gb * 2 * prices.between_zones_gb_each_way,
        ),
    ]


def _lake(sizing: Sizing, prices: Prices) -> list[Line]:
    return [
        Line("S3 storage", f"{sizing.s3_gb:,.0f} GB", prices.s3_storage(sizing.s3_gb)),
        Line(
            "S3 requests",
            f"{sizing.puts_per_month / 1e6:,.1f} M PUT and LIST, {sizing.gets_per_month / 1e6:,.1f} M GET and HEAD",
            prices.requests(sizing.puts_per_month, sizing.gets_per_month),
        ),
    ]


def _around(sizing: Sizing, prices: Prices, kind: Kind) -> list[Line]:
    hours, machines = prices.month_hours, sum(sizing.machines.values())
    found = [
        Line("Load balancer", "1, before the API", prices.load_balancer_hour * hours),
        Line("NAT gateway", f"1, {NAT_GB} GB", prices.nat_gateway_hour * hours + NAT_GB * prices.nat_gateway_gb),
        Line(
            "CloudWatch",
            f"{LOG_GB_PER_MACHINE * machines} GB of logs, {METRICS} metrics",
            LOG_GB_PER_MACHINE * machines * prices.log_gb + METRICS * prices.metric_month,
        ),
        Line("Secrets and keys", f"{SECRETS} secrets, 1 key", SECRETS * prices.secret_month + prices.key_month),
    ]
    if kind is not Kind.production:
        return found
    return [
        *found,
        Line(
            "VPC endpoints",
            f"{ENDPOINTS} in {ENDPOINT_ZONES} zones; the one for S3 is free",
            ENDPOINTS * ENDPOINT_ZONES * prices.interface_endpoint_hour * hours,
        ),
        Line(
            "PostgreSQL",
            f"db.t4g.medium in two zones, {DATABASE_GB} GB, for the run registry",
            prices.database_two_zones_hour * hours + DATABASE_GB * prices.database_two_zones_gb_month,
        ),
    ]


def alternatives(sizing: Sizing, prices: Prices) -> list[Line]:
    """What other ways of running Spark would add, on top of the bill."""
    computing = sum(prices.instances[name].hour * count for name, count in sizing.machines.items()) * prices.month_hours
    vcpu_hours = JOB_VCPUS * JOB_HOURS_PER_DAY * 30
    serverless = vcpu_hours * (prices.emr_serverless_vcpu_hour + 4 * prices.emr_serverless_gb_hour)
    return [
        Line("EMR on EC2", "the same machines, started and patched by EMR", computing * prices.emr_share_of_ec2),
        Line("EMR Serverless", f"jobs apart, {JOB_VCPUS} vCPU for {JOB_HOURS_PER_DAY:.0f} h a day", serverless),
    ]


def assumptions(sizing: Sizing, measured: Measured, prices: Prices) -> list[str]:
    """What the figures rest on, one sentence each."""
    return [
        f"Prices: {prices.region}, {prices.as_of}. {prices.source}. {prices.note}",
        f"Measured: {measured.cpu_seconds * 1e6:,.0f} µs of a core per event ({measured.events_per_second:,.0f} "
        f"events/s in bulk on {measured.cores} cores; benchmarks/results/bulk.json), with broker and S3 server on "
        f"the same cores; {measured.hot_cpu_seconds * 1e6:,.1f} s more per micro-batch and million events in the hot "
        "window.",
        f"Measured: {measured.sent_bytes:,.0f} bytes per event as sent, {measured.broker_bytes:,.0f} on a broker's "
        f"disk, {measured.tables_bytes:,.0f} in all tables; {measured.puts_per_batch:,.0f} PUT and LIST and "
        f"{measured.gets_per_batch:,.0f} GET and HEAD per micro-batch (benchmarks/results/footprint.json).",
        "Assumed: the peak is twice the average, the stream may take 60 % of the cores then; work grows in proportion "
        "to events, which was not measured beyond one machine.",
        f"Retention: {sizing.retention_days} days of all tables in S3, {sizing.kafka_hours} hours in Kafka.",
    ]


def for_kind(sizing: Sizing, kind: Kind) -> Sizing:
    """The same as this kind can have it: a demo's broker keeps its records, once, on half of the data disk.

    Raises ValueError for a deployment that the kind cannot be.
    """
    if kind is not Kind.demo:
        return sizing
    if sizing.executors:
        raise ValueError(f"The size demo has one machine, and {sizing.rate:,.0f} events/s need more: --size team.")
    an_hour = sizing.kafka_gb / 3 / sizing.kafka_hours
    hours = min(sizing.kafka_hours, int(DATA_DISK_GB[kind] / 2 / an_hour))
    if hours < LEAST_KAFKA_HOURS:
        raise ValueError(
            f"The disk of the size demo keeps {sizing.rate:,.0f} events/s in Kafka for {hours} hours only: --size team."
        )
    return replace(sizing, kafka_hours=hours, kafka_gb=an_hour * hours)


def deploy_command(sizing: Sizing, kind: Kind = Kind.production) -> str:
    """The command that makes this deployment, `for_kind`."""
    ((machine, _),) = sizing.machines.items()
    given: dict[str, object] = {"InstanceType": machine, "TriggerSeconds": sizing.interval_seconds}
    if sizing.executors:
        lag = 2 * records_per_batch(sizing.executors * EXECUTOR_CORES)
        given |= {"Executors": sizing.executors, "LagRecords": lag}
    if kind is Kind.production:
        given |= {"BrokerType": sizing.broker, "Brokers": sizing.brokers, "BrokerGiB": sizing.broker_gib}
    if sizing.interval_seconds > FRESHNESS_SECONDS / BATCHES_UNTIL_STALE:
        given["FreshnessSeconds"] = sizing.interval_seconds * BATCHES_UNTIL_STALE
    if sizing.kafka_hours != LONG_RETENTION_HOURS:
        given["Settings"] = f"SHOPLAKE_TOPIC_RETENTION_HOURS={sizing.kafka_hours}"
    parameters = " ".join(f"-p {name}={value}" for name, value in given.items())
    return f'make deploy SIZE={kind} PARAMETERS="{parameters}"'
