"""The calculation of sizes and bills, and the pages that quote it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from typer.testing import CliRunner

from deploy.capacity import pages
from deploy.capacity.__main__ import main
from deploy.capacity.bill import (
    DATA_DISK_GB,
    DATA_DISK_MIB_S,
    DATABASE_GB,
    ENDPOINT_ZONES,
    ENDPOINTS,
    EXECUTOR_DISK_GB,
    ROOT_DISK_GB,
    Kind,
    alternatives,
    assumptions,
    bill,
    deploy_command,
    for_kind,
)
from deploy.capacity.measured import BULK, FOOTPRINT, Measured, measured
from deploy.capacity.prices import load_prices
from deploy.capacity.sizing import (
    CLUSTER_MACHINE,
    EXECUTOR_CORES,
    EXECUTOR_HEAP_MB,
    HEAP_MB,
    INTERVALS,
    MOST_PARTITIONS,
    NONCURRENT_DAYS,
    records_per_batch,
    size,
)
from lakehouse.errors import UsageError

ROOT = Path(__file__).parents[2]
PRICES = load_prices()
MEASURED = Measured(
    events_per_second=4_000,
    cores=2,
    sent_bytes=450,
    broker_bytes=200,
    tables_bytes=100,
    puts_per_batch=40,
    gets_per_batch=60,
    small_batch_seconds=1.0,
    hot_cpu_seconds=0.0,
)


def total(rate: float, days: int = 30, **how: int) -> float:
    return sum(line.usd for line in bill(size(rate, days, MEASURED, PRICES, **how), PRICES))


def test_a_bill_by_hand() -> None:
    """One machine, three small brokers, ten events a second: each line as a person would work it out."""
    sizing = size(10, 30, MEASURED, PRICES, interval=60)
    usd = {line.service: line.usd for line in bill(sizing, PRICES)}
    assert sizing.machines == {"m7i.xlarge": 1}
    assert usd["EC2"] == pytest.approx(0.2016 * 730)
    assert usd["MSK brokers"] == pytest.approx(3 * 0.0456 * 730)
    assert usd["MSK storage"] == pytest.approx(3 * 50 * 0.10), "the smallest disks hold the 3.6 GB"
    assert usd["EBS"] == pytest.approx((200 + 40) * 0.08 + 125 * 0.04)
    assert usd["S3 storage"] == pytest.approx(10 * 86_400 * 100 / 1e9 * (30 + 1 + 14) * 0.023)
    batches = 730 * 3600 / 60
    assert usd["S3 requests"] == pytest.approx(batches * (40 * 0.005 + 60 * 0.0004) / 1000)
    assert usd["Traffic between zones"] == pytest.approx(10 * 730 * 3600 * 200 / 1e9 * (2 / 3) * 2 * 0.02)


def test_the_bill_has_what_the_templates_make() -> None:
    templates = ROOT / "deploy" / "aws" / "templates"
    network, database = (templates / "network.yaml").read_text(), (templates / "database.yaml").read_text()
    assert network.count("VpcEndpointType: Interface") == ENDPOINTS
    assert network.count("SubnetIds: [!Ref PrivateA, !Ref PrivateB]") == ENDPOINTS and ENDPOINT_ZONES == 2
    assert network.count("Type: AWS::EC2::NatGateway") == 1
    assert f'AllocatedStorage: "{DATABASE_GB}"' in database and "MultiAZ: true" in database
    assert "Default: db.t4g.medium" in database
    sizes, data, compute = (template(name) for name in ("main", "data", "compute"))
    each = sizes["Mappings"]["Executor"]["each"]
    assert each == {
        "InstanceType": CLUSTER_MACHINE,
        "Cores": str(EXECUTOR_CORES),
        "MemoryMb": str(EXECUTOR_HEAP_MB),
    }
    disks = data["Mappings"]["Sizes"]
    assert {kind: int(one["DiskGiB"]) for kind, one in disks.items()} == DATA_DISK_GB
    assert {kind: int(one["DiskMiBs"]) for kind, one in disks.items()} == DATA_DISK_MIB_S
    assert {one["DiskIops"] for one in disks.values()} == {"3000"}, "which gp3 has without paying for it"
    assert f"VolumeSize: {ROOT_DISK_GB}," in (templates / "compute.yaml").read_text()
    assert f"VolumeSize: {EXECUTOR_DISK_GB}," in (templates / "executors.yaml").read_text()
    assert f"NoncurrentDays: {NONCURRENT_DAYS}" in (templates / "data.yaml").read_text().replace("}", "")
    machines = compute["Mappings"]["Machines"]
    assert {name: int(one["SparkMemoryMb"]) for name, one in machines.items()} == HEAP_MB
    for name, one in machines.items():
        assert one["LagRecords"] == 2 * records_per_batch(PRICES.instances[name].vcpu)
    assert {one["Endpoints"] for kind, one in sizes["Mappings"]["Sizes"].items() if kind != "production"} == {"false"}
    usd = {line.service: line.usd for line in bill(size(10, 30, MEASURED, PRICES), PRICES)}
    assert usd["VPC endpoints"] == pytest.approx(12 * 0.01 * 730)
    assert usd["NAT gateway"] == pytest.approx(0.045 * 730 + 10 * 0.045)
    assert usd["PostgreSQL"] == pytest.approx(0.13 * 730 + 20 * 0.23)


def template(name: str) -> dict[str, Any]:
    """A template as cfn-lint reads it."""
    return dict(cfn_yaml.load(str(ROOT / "deploy" / "aws" / "templates" / f"{name}.yaml")))


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("rate", pages.RATES)
def test_a_calculated_deployment_can_be_made(kind: Kind, rate: int) -> None:
    """The command that `make cost` prints names parameters of the template, with values that it allows."""
    sizing, parameters = size(rate, 30, measured(), PRICES), template("main")["Parameters"]
    if kind is Kind.demo and sizing.executors:
        with pytest.raises(ValueError, match="one machine"):
            for_kind(sizing, kind)
        return
    said = deploy_command(for_kind(sizing, kind), kind)
    assert said.startswith(f"make deploy SIZE={kind} ")
    given = dict(re.findall(r"-p (\w+)=([^\s\"]+)", said))
    assert given
    for name, value in given.items():
        declared: dict[str, Any] = parameters[name]
        assert value in {str(one) for one in declared.get("AllowedValues", (value,))}, name
        assert float(declared.get("MinValue", 0)) <= float(value if "MinValue" in declared else 0), name
        assert float(value if "MaxValue" in declared else 0) <= float(declared.get("MaxValue", 0)), name
        assert re.search(str(declared.get("AllowedPattern", "")), value), name


def test_a_demos_disk_holds_its_brokers_records() -> None:
    """50 GiB, half of them for Kafka: 25 GB are a week of 206 events/s with 200 bytes each."""
    few, many = (for_kind(size(rate, 30, MEASURED, PRICES), Kind.demo) for rate in (200, 1_000))
    assert few.kafka_hours == 168 and many.kafka_hours == int(25e9 / (1_000 * 3600 * 200)) == 34
    assert "Settings=SHOPLAKE_TOPIC_RETENTION_HOURS=34" in deploy_command(many, Kind.demo)
    with pytest.raises(ValueError, match="for 17 hours only"):
        for_kind(size(2_000, 30, MEASURED, PRICES), Kind.demo)


def test_alarms_of_a_deployment_leave_its_batches_their_time() -> None:
    sizing = size(100_000, 30, MEASURED, PRICES, interval=120)
    said = deploy_command(sizing)
    assert f"LagRecords={2 * sizing.executors * EXECUTOR_CORES * 100_000}" in said and "FreshnessSeconds=480" in said
    assert "FreshnessSeconds" not in deploy_command(size(10, 30, MEASURED, PRICES, interval=60))


def test_a_smaller_kind_has_no_brokers_or_one_line_for_them() -> None:
    sizing = size(10, 30, MEASURED, PRICES)
    services = {kind: {line.service for line in bill(sizing, PRICES, kind)} for kind in Kind}
    assert services[Kind.production] - services[Kind.demo] == {
        "MSK brokers",
        "MSK storage",
        "Traffic between zones",
        "VPC endpoints",
        "PostgreSQL",
    }
    assert services[Kind.team] - services[Kind.demo] == {"MSK Serverless"}
    (serverless,) = (line for line in bill(sizing, PRICES, Kind.team) if line.service == "MSK Serverless")
    gb = 10 * 730 * 3600 * 200 / 1e9
    kept = 10 * 3600 * 168 * 200 / 1e9
    assert serverless.usd == pytest.approx((0.75 + 4 * 4 * 0.0015) * 730 + gb * 0.15 + kept * 0.10)


def test_sizes_follow_the_rules() -> None:
    sizing = size(100_000, 7, MEASURED, PRICES)
    # 100,000/s x 2 (peak) x 500 µs at 60 % = 166.7 cores, 15 a machine; 378 GB of hot window at half of 49 GB a heap.
    assert sizing.cores == 167
    assert sizing.executors == 16
    assert sizing.partitions == 256
    assert sizing.hot_window_gb == pytest.approx(378)
    written = 100_000 * 2 * 200 * 3 / 1e6
    one_gone = sizing.brokers - 1
    assert written <= one_gone * PRICES.brokers[sizing.broker].disk_mb_s / 2
    assert sizing.brokers % 3 == 0


@pytest.mark.parametrize(("less", "more"), [(10, 1_000), (1_000, 10_000), (10_000, 100_000), (100_000, 1_000_000)])
def test_more_events_need_no_less_of_anything(less: int, more: int) -> None:
    first, second = (size(rate, 30, MEASURED, PRICES) for rate in (less, more))
    assert total(less) < total(more)
    assert first.cores <= second.cores
    assert first.partitions <= second.partitions <= MOST_PARTITIONS
    assert first.s3_gb < second.s3_gb


def test_longer_retention_and_shorter_intervals_cost_more() -> None:
    assert total(1_000, days=30) < total(1_000, days=60)
    assert total(1_000, interval=60) < total(1_000, interval=5)


def test_faster_code_needs_fewer_cores() -> None:
    faster = replace(MEASURED, events_per_second=40_000)
    assert size(100_000, 30, faster, PRICES).cores < size(100_000, 30, MEASURED, PRICES).cores / 9


def test_an_interval_leaves_a_batch_its_time() -> None:
    slow = replace(MEASURED, small_batch_seconds=4.0)
    assert size(100_000, 30, slow, PRICES).interval_seconds == 10
    assert size(0.1, 1, MEASURED, PRICES).interval_seconds in INTERVALS


def test_a_full_hot_window_is_looked_through_once_a_batch() -> None:
    """10,800 events per event/s at 1 µs are 10.8 ms a batch: as much as 21.6 events of 500 µs, so every 30 s."""
    dear = replace(MEASURED, hot_cpu_seconds=1e-6)
    sizing = size(100_000, 30, dear, PRICES)
    assert sizing.interval_seconds == 30
    assert sizing.cores == math.ceil(100_000 * 2 * (500e-6 + 10_800 / 30 * 1e-6) / 0.6) == 287
    assert size(100_000, 30, dear, PRICES, interval=60).cores < 287


def test_steps_of_the_price_of_storage() -> None:
    assert PRICES.s3_storage(100) == pytest.approx(2.3)
    assert PRICES.s3_storage(60_000) == pytest.approx(51_200 * 0.023 + 8_800 * 0.022)
    assert PRICES.s3_storage(600_000) == pytest.approx(51_200 * 0.023 + 460_800 * 0.022 + 88_000 * 0.021)


def test_prices_and_assumptions_are_dated_and_named() -> None:
    said = " ".join(assumptions(size(10, 30, MEASURED, PRICES), MEASURED, PRICES))
    assert re.search(r"us-east-1, 20\d\d-\d\d-\d\d", said)
    assert "measured" in said.lower() and "Assumed" in said and "bulk.json" in said
    assert [line.service for line in alternatives(size(10, 30, MEASURED, PRICES), PRICES)]


def test_the_committed_figures_say_where_they_come_from() -> None:
    for file in (BULK, FOOTPRINT):
        report = json.loads(file.read_text())
        assert {"measured_at", "command", "machine", "figures"} <= set(report), file.name
    assert measured().cpu_seconds > 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"figures": [], "machine": {"cores": 2}}'])
def test_a_file_that_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    broken = tmp_path / "bulk.json"
    broken.write_text(text)
    with pytest.raises(UsageError, match=r"bulk\.json"):
        measured(bulk=broken)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_pages_say_what_the_code_calculates(page: Path) -> None:
    text = page.read_text()
    assert pages.rendered(text) == text, "run `python -m deploy.capacity --write`"
    assert "<!-- end -->" in text


def test_the_command_prints_sizes_bill_and_assumptions() -> None:
    import typer

    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--rate", "1000", "--retention", "30"])
    assert done.exit_code == 0
    for word in ("MSK brokers", "together", "partitions", "us-east-1", "Assumed", "make deploy SIZE=production"):
        assert word in done.output
    demo = CliRunner().invoke(app, ["--rate", "10", "--size", "demo"])
    assert demo.exit_code == 0 and "MSK brokers" not in demo.output and "make deploy SIZE=demo" in demo.output
    assert CliRunner().invoke(app, ["--rate", "100000", "--size", "demo"]).exit_code == 2
    assert CliRunner().invoke(app, ["--rate", "-1"]).exit_code == 2


def test_every_test_that_the_fault_table_names_exists() -> None:
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(?:tests/\S+::)?(test_\w+)(?:\[\w+\])?`", (ROOT / "docs" / "faults.md").read_text()))
    assert len(named) >= 5
    for name in named:
        assert f"def {name}(" in tests, name
