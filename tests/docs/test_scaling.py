"""The bill of docs/explanation/scaling.md adds up, rests on what was measured, and has what the templates make."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from deploy.aws.start import RECORDS_PER_CORE, partitions_for
from docs.generate import RESULTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "scaling.md").read_text()
RATES = (10, 1_000, 10_000)
HOURS = 730
CORES = {"m7i.xlarge": 4, "m7i.2xlarge": 8, "m7i.4xlarge": 16}


def rows() -> list[list[str]]:
    """The cells of the bill."""
    bill = PAGE.partition("<!-- bill -->")[2].partition("<!-- end -->")[0]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in bill.split("\n") if "|" in line][2:]


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


LINES = {(row[0], row[1]): row[2:] for row in rows()[:-2]}
TOGETHER, PER_MILLION = rows()[-2:]


def units(service: str, unit: str) -> list[float]:
    return [number(cell) for cell in LINES[service, unit][1::2]]


def figure(benchmark: str, name: str) -> float:
    report = json.loads((RESULTS / f"{benchmark}.json").read_text())
    return float(next(one["value"] for one in report["figures"] if one["name"] == name))


def template(name: str) -> dict[str, Any]:
    return dict(cfn_yaml.load(str(ROOT / "deploy" / "aws" / "templates" / f"{name}.yaml")))


def test_the_readme_has_the_same_totals() -> None:
    readme = (ROOT / "README.md").read_text()
    for rate, total in zip(RATES, TOGETHER[4::2], strict=True):
        assert re.search(rf"^\| {rate:,} \|.* {re.escape(total)} \|$", readme, re.MULTILINE), total


@pytest.mark.parametrize("column", range(len(RATES)), ids=str)
def test_the_bill_adds_up(column: int) -> None:
    usd = 0.0
    for line, cells in LINES.items():
        price, count, said = number(cells[0]), number(cells[1 + 2 * column]), number(cells[2 + 2 * column])
        assert said == pytest.approx(price * count, abs=0.51), line
        usd += price * count
    assert number(TOGETHER[4 + 2 * column]) == pytest.approx(usd, abs=1)
    millions = RATES[column] * HOURS * 3600 / 1e6
    assert number(PER_MILLION[4 + 2 * column]) == pytest.approx(usd / millions, abs=0.01)


def test_the_bill_rests_on_what_was_measured() -> None:
    tables = sum(figure("footprint", name) for name in ("bronze.events", "silver.events", "all other tables"))
    sent, batches = figure("footprint", "event on a broker's disk"), HOURS * 60
    assert units("S3", "GB kept") == [round(rate * 86_400 * tables / 1e9 * 45) for rate in RATES]
    assert units("between zones", "GB") == [round(rate * HOURS * 3600 * sent / 1e9 * 4 / 3) for rate in RATES]
    assert units("S3", "1,000 PUT and LIST") == [round(batches * figure("footprint", "S3 PUT, LIST") / 1000)] * 3
    assert units("S3", "1,000 GET and HEAD") == [round(batches * figure("footprint", "S3 GET, HEAD") / 1000)] * 3
    silver = figure("footprint", "silver.events")
    read = [rate * HOURS * 3600 * silver / 1e12 for rate in RATES]
    assert units("Athena", "1,000 GB read") == pytest.approx(read, abs=0.005), "every event once"
    for disks, rate in zip(units("MSK", "GiB of disk"), RATES, strict=True):
        week = rate * 3600 * 168 * sent * 3 / 2**30
        assert week * 1.4 <= disks <= max(week * 1.6 + 150, 150), "a week, and half as much again, in steps of 50"


def test_each_rate_has_the_smallest_machine_that_carries_its_peak() -> None:
    seconds = 2 / figure("bulk", "bulk, Kafka → bronze → gold")
    trigger = template("main")["Parameters"]["TriggerSeconds"]["Default"]
    for hours, rate in zip(units("EC2", "hour of 4 cores"), RATES, strict=True):
        needed = max(rate * 2 * seconds / 0.6, rate * 2 * trigger / RECORDS_PER_CORE)
        assert hours / HOURS * 4 == min(cores for cores in CORES.values() if cores >= needed)


def test_the_bill_has_what_the_templates_make() -> None:
    sizes, data = template("main")["Mappings"], template("data")
    network = template("network")["Resources"]
    kinds = [one["Properties"].get("VpcEndpointType") for one in network.values() if "VPCEndpoint" in one["Type"]]
    assert units("VPC endpoints", "hour in a zone") == [HOURS * 2 * kinds.count("Interface")] * 3
    assert units("VPC endpoints", "hour of the one for S3") == [HOURS * kinds.count("Gateway")] * 3
    assert units("NAT gateway", "hour of its public address") == units("NAT gateway", "hour") == [HOURS] * 3
    alarms = [one for one in template("monitoring")["Resources"].values() if "AlarmName" in one.get("Properties", {})]
    of_executors = [one for one in alarms if one.get("Condition") == "HasExecutors"]
    assert units("CloudWatch", "alarm") == [len(alarms) - len(of_executors)] * 3
    made = [one for name in ("main", "data") for one in template(name)["Resources"].values()]
    secrets = [one for one in made if "Secret" in one["Type"] and one.get("Condition") != "HasMachines"]
    assert units("secrets", "secret") == [len(secrets)] * 3
    disk = data["Mappings"]["Sizes"]["production"]
    assert units("EBS", "MiB/s above its own 125") == [int(disk["DiskMiBs"]) - 125] * 3
    assert units("EBS", "GB of gp3") == [int(disk["DiskGiB"]) + 40] * 3
    templates = ROOT / "deploy" / "aws" / "templates"
    assert "VolumeSize: 40," in (templates / "compute.yaml").read_text()
    assert "VolumeSize: 200," in (templates / "executors.yaml").read_text()
    assert "NoncurrentDays: 14" in (templates / "data.yaml").read_text()
    assert sizes["Executor"]["each"]["Cores"] == "15"


def test_bronze_costs_what_its_storage_class_says() -> None:
    page = (ROOT / "docs" / "explanation" / "s3.md").read_text()
    found = re.findall(r"^\| `([A-Z_]+)` \|(.+)\|$", page, re.MULTILINE)
    assert [name for name, _ in found] == template("data")["Parameters"]["BronzeStorage"]["AllowedValues"]
    per_day = 1000 * 86_400 * figure("footprint", "bronze.events") / 1e9
    for name, cells in found:
        *prices, month, back, all_back = [number(cell) for cell in cells.split("|")]
        assert month == round(sum(days * usd * per_day for days, usd in zip((30, 30, 60, 245), prices, strict=True))), (
            name
        )
        assert all_back == round(back * per_day * (365 - 30)), name


def test_the_next_steps_cost_what_the_bill_says() -> None:
    steps = re.findall(r"^\| [\d,]+ \|.*\| (\d+)[^|]* \| [^|]+ \|$", PAGE, re.MULTILINE)
    price = {unit: number(cells[0]) for (_, unit), cells in LINES.items()}
    brokers = 3 * (price["hour of kafka.m7g.large"] - price["hour of kafka.t3.small"]) * HOURS
    cores = price["hour of 4 cores"] * HOURS
    requests = sum(price[unit] * units("S3", unit)[0] for unit in ("1,000 PUT and LIST", "1,000 GET and HEAD"))
    less = re.search(r"10,000 events/s: (\d+) USD a month less", PAGE)
    assert less is not None and number(less[1]) == round(2 * cores - requests)
    assert [number(step) for step in steps] == [
        round(brokers),
        round(requests),
        round(cores),
        round(4 * cores + 200 * price["GB of gp3"]),
    ]


def test_s3_costs_an_event_what_the_bill_says() -> None:
    page = (ROOT / "docs" / "explanation" / "s3.md").read_text()
    said = re.search(r"cost ([\d.]+) USD per million events at\s+10 events/s and ([\d.]+) at 1,000", page)
    assert said is not None
    units = ("GB kept", "1,000 PUT and LIST", "1,000 GET and HEAD")
    for column, text in enumerate(said.groups()):
        usd = sum(number(LINES["S3", unit][0]) * number(LINES["S3", unit][1 + 2 * column]) for unit in units)
        assert number(text) == round(usd / (RATES[column] * HOURS * 3600 / 1e6), 2)


def test_an_alarm_leaves_two_micro_batches_their_time() -> None:
    for machine, cores in CORES.items():
        assert template("compute")["Mappings"]["Machines"][machine]["LagRecords"] == 2 * cores * RECORDS_PER_CORE


@pytest.mark.parametrize(("cores", "partitions"), [(1, 2), (4, 4), (15, 16), (30, 32), (10_000, 512)])
def test_partitions_follow_the_cores(cores: int, partitions: int) -> None:
    assert partitions_for(cores) == partitions
