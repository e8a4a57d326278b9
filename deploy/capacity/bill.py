"""The monthly bill of a deployment, by service."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.capacity.measured import Measured
from deploy.capacity.prices import Prices
from deploy.capacity.sizing import Sizing

CROSSING = 2 / 3
"""With three zones, two of three bytes go to a broker in another zone, and come from one."""
DISK_GB, EXECUTOR_DISK_GB = 100, 200
LOG_GB_PER_MACHINE, METRICS, SECRETS = 5, 40, 4
ENDPOINTS, ENDPOINT_ZONES = 6, 2
NAT_GB, DATABASE_GB = 10, 20
"""Packages at an installation and what AWS's services without an endpoint take; S3 and Kafka do not go through it."""
JOB_VCPUS, JOB_HOURS_PER_DAY = 16, 1.0


@dataclass(frozen=True)
class Line:
    """A line of the bill: USD per month and how it comes about."""

    service: str
    what: str
    usd: float


def bill(sizing: Sizing, prices: Prices) -> list[Line]:
    """Every service of a deployment of the size `production`, with as many machines as the rate needs."""
    hours, machines = prices.month_hours, sum(sizing.machines.values())
    computing = sum(prices.instances[name].hour * count * hours for name, count in sizing.machines.items())
    disks = DISK_GB + sizing.executors * EXECUTOR_DISK_GB
    crossing_gb = sizing.gb_per_month * CROSSING * 2
    requests = prices.requests(sizing.puts_per_month, sizing.gets_per_month)
    return [
        Line("EC2", " + ".join(f"{count} x {name}" for name, count in sizing.machines.items()), computing),
        Line("EBS", f"{disks:,} GB gp3", disks * prices.ebs_gp3_gb_month),
        Line(
            "MSK brokers",
            f"{sizing.brokers} x {sizing.broker}",
            sizing.brokers * prices.brokers[sizing.broker].hour * hours,
        ),
        Line(
            "MSK storage",
            f"{sizing.kafka_gb:,.0f} GB: {sizing.kafka_hours} h, 3 replicas",
            sizing.kafka_gb * prices.broker_storage_gb_month,
        ),
        Line("S3 storage", f"{sizing.s3_gb:,.0f} GB", prices.s3_storage(sizing.s3_gb)),
        Line(
            "S3 requests",
            f"{sizing.puts_per_month / 1e6:,.1f} M PUT and LIST, {sizing.gets_per_month / 1e6:,.1f} M GET and HEAD",
            requests,
        ),
        Line(
            "Traffic between zones",
            f"{crossing_gb:,.0f} GB, to the brokers and from them",
            crossing_gb * 2 * prices.between_zones_gb_each_way,
        ),
        Line("Load balancer", "1, before the API", prices.load_balancer_hour * hours),
        Line(
            "VPC endpoints",
            f"{ENDPOINTS} in {ENDPOINT_ZONES} zones; the one for S3 is free",
            ENDPOINTS * ENDPOINT_ZONES * prices.interface_endpoint_hour * hours,
        ),
        Line("NAT gateway", f"1, {NAT_GB} GB", prices.nat_gateway_hour * hours + NAT_GB * prices.nat_gateway_gb),
        Line(
            "PostgreSQL",
            f"db.t4g.medium in two zones, {DATABASE_GB} GB, for the run registry",
            prices.database_two_zones_hour * hours + DATABASE_GB * prices.database_two_zones_gb_month,
        ),
        Line(
            "CloudWatch",
            f"{LOG_GB_PER_MACHINE * machines} GB of logs, {METRICS} metrics",
            LOG_GB_PER_MACHINE * machines * prices.log_gb + METRICS * prices.metric_month,
        ),
        Line("Secrets and keys", f"{SECRETS} secrets, 1 key", SECRETS * prices.secret_month + prices.key_month),
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
        f"events/s in bulk on {measured.cores} cores; benchmarks/results/bulk.json), with broker, S3 server and "
        "generator on the same cores.",
        f"Measured: {measured.sent_bytes:,.0f} bytes per event as sent, {measured.broker_bytes:,.0f} on a broker's "
        f"disk, {measured.tables_bytes:,.0f} in all tables; {measured.puts_per_batch:,.0f} PUT and LIST and "
        f"{measured.gets_per_batch:,.0f} GET and HEAD per micro-batch (benchmarks/results/footprint.json).",
        "Assumed: the peak is twice the average, the stream may take 60 % of the cores then; work grows in proportion "
        "to events, which was not measured beyond one machine.",
        f"Retention: {sizing.retention_days} days of all tables in S3, {sizing.kafka_hours} hours in Kafka.",
    ]
