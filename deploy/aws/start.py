"""What the unit starts: settings that only AWS knows, then the supervisor in this process's place; on an executor the
worker of a Spark cluster.

Secrets go from Secrets Manager into the environment of the platform's processes. No file has them but the cluster's,
which Spark's processes read from a file in memory (systemd's runtime directory) that goes with the unit.
"""

import json
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from lakehouse.errors import ShoplakeError
from lakehouse.lake_secret import PRIVATE_FILE
from lakehouse.reports import replace_text

LINK_LOCAL = ("169.254.169.254", 80)
DRIVER_POLL_SECONDS = 10.0
MASTER_PORT = 7077
RECORDS_PER_CORE = 100_000
"""Most records of a micro-batch per core, its work of ten seconds: bounds time and memory of a backlog's batches."""
MOST_PARTITIONS = 512
CLUSTER_SECRET_FILE = Path("/run/shoplake/cluster.secret")
FACTS = frozenset(
    f"SHOPLAKE_{name}"
    for name in (
        "NAME", "ROLE", "RELEASES", "DATA_DISK", "SECRET_SETTINGS", "MSK_CLUSTER", "WITH_SUPERSET", "EXECUTORS",
        "YARN_MANAGER", "CLUSTER_SECRET", "DRIVER_ADDRESS",
    )
)  # fmt: skip
"""What the instance's environment has beside settings; the platform does not get it, and calls none of it misspelt."""


def environment(facts: Mapping[str, str], session: Any) -> dict[str, str]:
    """The `SHOPLAKE_` settings beside `facts` (/etc/shoplake/shoplake.env), which win; secret settings win over both.

    Raises ShoplakeError for secret settings that are not one JSON object of SHOPLAKE_ names.
    """
    found = planned(facts, os.cpu_count() or 1)
    if arn := facts.get("SHOPLAKE_MSK_CLUSTER"):
        answer = session.client("kafka").get_bootstrap_brokers(ClusterArn=arn)
        found |= {
            "SHOPLAKE_KAFKA_BOOTSTRAP": answer["BootstrapBrokerStringSaslIam"],
            "SHOPLAKE_KAFKA_SECURITY": "msk-iam",
        }
    found = {name: value for name, value in found.items() if name not in facts}
    if arn := facts.get("SHOPLAKE_SECRET_SETTINGS"):
        given = _secret(session, arn)
        if wrong := sorted(name for name in given if not name.startswith("SHOPLAKE_")):
            raise ShoplakeError(f"The secret settings have {wrong[0]}: each name begins with SHOPLAKE_.")
        found |= {name: str(value) for name, value in given.items()}
    return found


def planned(facts: Mapping[str, str], own_cores: int) -> dict[str, str]:
    """The `SHOPLAKE_` settings that follow from the cores that compute: the instance's own, or its executors'."""
    executors = int(facts.get("SHOPLAKE_EXECUTORS") or 0)
    cores = executors * int(facts["SHOPLAKE_SPARK_EXECUTOR_CORES"]) if executors else own_cores
    found = {
        "SHOPLAKE_SPARK_SHUFFLE_PARTITIONS": str(cores),
        "SHOPLAKE_TOPIC_PARTITIONS": str(partitions_for(cores)),
        "SHOPLAKE_MAX_OFFSETS_PER_BATCH": str(cores * RECORDS_PER_CORE),
    }
    if not executors:
        return found
    found["SHOPLAKE_SPARK_DRIVER_HOST"] = own_address()
    if manager := facts.get("SHOPLAKE_YARN_MANAGER"):
        return {**found, "SHOPLAKE_SPARK_MASTER": f"yarn://{manager}", "SHOPLAKE_SPARK_EXECUTORS": str(executors)}
    return {**found, "SHOPLAKE_SPARK_MASTER": "here", "SHOPLAKE_SPARK_SECRET_FILE": str(CLUSTER_SECRET_FILE)}


def partitions_for(cores: int) -> int:
    """Partitions per topic: as many as cores, so that the largest topic alone keeps all busy."""
    return int(min(MOST_PARTITIONS, 2 ** math.ceil(math.log2(max(2, cores)))))


def tell_executors(facts: Mapping[str, str], session: Any) -> None:
    """Let executors join: the cluster's secret into memory, the instance's address to where they look for it."""
    if not (arn := facts.get("SHOPLAKE_CLUSTER_SECRET")):
        return
    replace_text(CLUSTER_SECRET_FILE, _secret(session, arn)["secret"], PRIVATE_FILE)
    session.client("ssm").put_parameter(
        Name=facts["SHOPLAKE_DRIVER_ADDRESS"], Value=own_address(), Type="String", Overwrite=True
    )


def joining(facts: Mapping[str, str], session: Any) -> dict[str, str]:
    """The `SHOPLAKE_` settings of an executor, which waits until the instance has an address."""
    replace_text(CLUSTER_SECRET_FILE, _secret(session, facts["SHOPLAKE_CLUSTER_SECRET"])["secret"], PRIVATE_FILE)
    return {
        "SHOPLAKE_SPARK_MASTER": f"spark://{_driver_address(session, facts['SHOPLAKE_DRIVER_ADDRESS'])}:{MASTER_PORT}",
        "SHOPLAKE_SPARK_DRIVER_HOST": own_address(),
        "SHOPLAKE_SPARK_SECRET_FILE": str(CLUSTER_SECRET_FILE),
    }


def is_executor(facts: Mapping[str, str]) -> bool:
    """Whether this machine only computes."""
    return facts.get("SHOPLAKE_ROLE") == "executor"


def own_address() -> str:
    """The address by which other machines of the network reach this one: nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(LINK_LOCAL)
        return str(probe.getsockname()[0])


def _driver_address(session: Any, parameter: str) -> str:
    client = session.client("ssm")
    while True:
        address = str(client.get_parameter(Name=parameter)["Parameter"]["Value"])
        if address[0].isdigit() and _listens(address):
            return address
        print(f"No cluster listens at the address in {parameter} yet ({address}).", flush=True)
        time.sleep(DRIVER_POLL_SECONDS)


def _listens(address: str) -> bool:
    """Whether a cluster's master is there: the address may still be that of an instance that is gone."""
    try:
        socket.create_connection((address, MASTER_PORT), timeout=3).close()
    except OSError:
        return False
    return True


def _secret(session: Any, arn: str) -> dict[str, Any]:
    text = session.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ShoplakeError(f"The secret {arn} is not a JSON object.")
    return found


def main() -> None:
    """Become what the unit runs, or `shoplake` with the arguments given."""
    session, is_unit = boto3.Session(), not sys.argv[1:]
    shoplake = str(Path(sys.executable).with_name("shoplake"))
    try:
        if is_executor(os.environ):
            settings = joining(os.environ, session) if is_unit else {}
        else:
            settings = environment(os.environ, session)
            if is_unit:
                tell_executors(os.environ, session)
    except ShoplakeError as error:
        sys.exit(str(error))
    if not is_unit:
        command = [shoplake, *sys.argv[1:]]
    elif is_executor(os.environ):
        command = [sys.executable, "-m", "lakehouse.services.cluster"]
    else:
        command = [shoplake, "up", *(["--superset"] if os.environ.get("SHOPLAKE_WITH_SUPERSET") == "true" else [])]
    inherited = {name: value for name, value in os.environ.items() if name not in FACTS}
    os.execve(command[0], command, inherited | settings)  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main()
