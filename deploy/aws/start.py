"""What the unit starts: settings that only AWS knows, then the supervisor in this process's place.

Secrets go from Secrets Manager into the environment of the platform's processes; no file ever has them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lakehouse.errors import ShoplakeError


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
    """Become `shoplake up`, or `shoplake` with the arguments given."""
    import boto3

    try:
        settings = environment(os.environ, boto3.Session())
    except ShoplakeError as error:
        sys.exit(str(error))
    command = [str(Path(sys.executable).with_name("shoplake")), *(sys.argv[1:] or ["up"])]
    if command[1:] == ["up"] and os.environ.get("SHOPLAKE_WITH_SUPERSET") == "true":
        command.append("--superset")
    os.execve(command[0], command, {**os.environ, **settings})  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main()
