"""What the unit starts: settings that only AWS knows, then the supervisor in this process's place; on an executor the
worker of a Spark cluster.

Secrets go from Secrets Manager into the environment of the platform's processes. No file has them but the cluster's,
which Spark's processes read from a file in memory (systemd's runtime directory) that goes with the unit.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.capacity.sizing import partitions_for
from lakehouse.embedded.service import write_private
from lakehouse.errors import ShoplakeError

LINK_LOCAL = ("169.254.169.254", 80)
DRIVER_POLL_SECONDS = 10.0


def environment(facts: Mapping[str, str], session: Any) -> dict[str, str]:
    """The `SHOPLAKE_` settings that `facts` (/etc/shoplake/shoplake.env) do not name themselves.

    Raises ShoplakeError for secret settings that are not one JSON object of SHOPLAKE_ names.
    """
    found: dict[str, str] = {}
    if arn := facts.get("SHOPLAKE_MSK_CLUSTER"):
        answer = session.client("kafka").get_bootstrap_brokers(ClusterArn=arn)
        found |= {
            "SHOPLAKE_KAFKA_BOOTSTRAP": answer["BootstrapBrokerStringSaslIam"],
            "SHOPLAKE_KAFKA_SECURITY": "msk-iam",
        }
    if host := facts.get("SHOPLAKE_DATABASE_HOST"):
        login = _secret(session, facts["SHOPLAKE_DATABASE_SECRET"])
        found["SHOPLAKE_DATABASE_URL"] = (
            f"postgresql://{quote(login['username'], '')}:{quote(login['password'], '')}@{host}:5432/shoplake"
            "?sslmode=require"
        )
    if arn := facts.get("SHOPLAKE_SECRET_SETTINGS"):
        given = _secret(session, arn)
        if wrong := sorted(name for name in given if not name.startswith("SHOPLAKE_")):
            raise ShoplakeError(f"The secret settings have {wrong[0]}: each name begins with SHOPLAKE_.")
        found |= {name: str(value) for name, value in given.items()}
    return found


def cluster(facts: Mapping[str, str], session: Any) -> dict[str, str]:
    """The `SHOPLAKE_` settings of a machine of a Spark cluster; none for an installation without executors.

    The driver writes its address where executors look for it, and plans for as many cores as they have. An executor
    waits until there is an address.
    """
    if not (arn := facts.get("SHOPLAKE_CLUSTER_SECRET")):
        return {}
    secret = write_private(Path(facts["RUNTIME_DIRECTORY"]) / "cluster.secret", _secret(session, arn)["secret"])
    own, parameter = own_address(), facts["SHOPLAKE_DRIVER_ADDRESS"]
    found = {"SHOPLAKE_SPARK_DRIVER_HOST": own, "SHOPLAKE_SPARK_SECRET_FILE": str(secret)}
    if is_executor(facts):
        return {**found, "SHOPLAKE_SPARK_MASTER": f"spark://{_driver_address(session, parameter)}:7077"}
    session.client("ssm").put_parameter(Name=parameter, Value=own, Type="String", Overwrite=True)
    executors = int(facts["SHOPLAKE_EXECUTORS"])
    cores = executors * int(facts["SHOPLAKE_SPARK_EXECUTOR_CORES"])
    return {
        **found,
        "SHOPLAKE_SPARK_MASTER": "here",
        "SHOPLAKE_SPARK_SHUFFLE_PARTITIONS": str(cores),
        "SHOPLAKE_TOPIC_PARTITIONS": str(partitions_for(cores)),
        "SHOPLAKE_FILES_PER_BATCH": str(executors),
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
        if address[0].isdigit():
            return address
        print(f"The instance has not written its address into {parameter} yet.", flush=True)
        time.sleep(DRIVER_POLL_SECONDS)


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
    import boto3

    session, is_unit = boto3.Session(), not sys.argv[1:]
    try:
        settings = environment(os.environ, session) | (cluster(os.environ, session) if is_unit else {})
    except ShoplakeError as error:
        sys.exit(str(error))
    shoplake = str(Path(sys.executable).with_name("shoplake"))
    if not is_unit:
        command = [shoplake, *sys.argv[1:]]
    elif is_executor(os.environ):
        command = [sys.executable, "-m", "lakehouse.embedded.cluster"]
    else:
        command = [shoplake, "up", *(["--superset"] if os.environ.get("SHOPLAKE_WITH_SUPERSET") == "true" else [])]
    os.execve(command[0], command, {**os.environ, **settings})  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main()
