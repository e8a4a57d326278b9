"""The dated price table of one region, typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("prices.json")
MONTH_HOURS = 730.0


@dataclass(frozen=True)
class Instance:
    """A type of machine; USD per hour, on demand."""

    vcpu: int
    memory_gb: int
    hour: float


@dataclass(frozen=True)
class Broker:
    """A type of MSK broker: what its disk can write (MB/s), how many partition replicas it may hold, USD per hour."""

    disk_mb_s: float
    partitions: int
    hour: float

    @property
    def is_large(self) -> bool:
        """Whether it may carry more than trial traffic."""
        return self.partitions >= 1000


@dataclass(frozen=True)
class Prices:
    """USD; per hour, month, GB or thousand requests as the name says. `s3_gb_month` is steps of (GB up to, price)."""

    as_of: str
    region: str
    source: str
    note: str
    instances: Mapping[str, Instance]
    brokers: Mapping[str, Broker]
    broker_storage_gb_month: float
    ebs_gp3_gb_month: float
    ebs_gp3_mib_s_month: float
    serverless_cluster_hour: float
    serverless_partition_hour: float
    serverless_in_gb: float
    serverless_out_gb: float
    s3_gb_month: list[tuple[float | None, float]]
    s3_put_list_1000: float
    s3_get_1000: float
    between_zones_gb_each_way: float
    emr_share_of_ec2: float
    emr_serverless_vcpu_hour: float
    emr_serverless_gb_hour: float
    load_balancer_hour: float
    interface_endpoint_hour: float
    nat_gateway_hour: float
    nat_gateway_gb: float
    database_two_zones_hour: float
    database_two_zones_gb_month: float
    log_gb: float
    metric_month: float
    secret_month: float
    key_month: float
    month_hours: float = MONTH_HOURS

    def requests(self, puts: float, gets: float) -> float:
        """What so many S3 requests cost; deleting is free."""
        return puts / 1000 * self.s3_put_list_1000 + gets / 1000 * self.s3_get_1000

    def s3_storage(self, gb: float) -> float:
        """What so many GB cost in a month, by S3's steps."""
        cost, below = 0.0, 0.0
        for up_to, price in self.s3_gb_month:
            top = gb if up_to is None else min(gb, up_to)
            cost += max(0.0, top - below) * price
            below = max(below, top)
        return cost


def load_prices(file: Path = FILE) -> Prices:
    """The table in the repository."""
    table = json.loads(file.read_text())
    table["instances"] = {name: Instance(**values) for name, values in table["instances"].items()}
    table["brokers"] = {name: Broker(**values) for name, values in table["brokers"].items()}
    return Prices(**table)
