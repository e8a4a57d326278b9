"""What CloudWatch gets each minute: parts that are down, how far the stream is behind, how fresh, memory and disk."""

import os
import re
import urllib.request
from typing import Any

import boto3
import psutil

from deploy.aws.start import environment
from lakehouse.services import state
from lakehouse.settings import Settings, load_settings

NAMESPACE = "Shoplake"
_FRESHNESS = re.compile(r"^shoplake_stream_freshness_seconds (\S+)$", re.MULTILINE)


def figures(settings: Settings, status: dict[str, dict[str, Any]], exposition: str) -> dict[str, tuple[float, str]]:
    """Value and unit per known metric. `exposition` is the API's /metrics."""
    with_superset = os.environ.get("SHOPLAKE_WITH_SUPERSET") == "true"
    expected = [part for name, part in status.items() if name != "superset" or with_superset]
    found: dict[str, tuple[float, str]] = {
        "PartsDown": (sum(part["state"] not in ("up", "external") for part in expected), "Count"),
        "MemoryUsedPercent": (psutil.virtual_memory().percent, "Percent"),
        "DiskUsedPercent": (psutil.disk_usage(str(settings.data_dir)).percent, "Percent"),
    }
    lag = status.get("stream", {}).get("lag")
    if lag is not None:
        found["StreamLag"] = (float(lag), "Count")
    if match := _FRESHNESS.search(exposition):
        found["Freshness"] = (float(match[1]), "Seconds")
    return found


def send(client: Any, name: str, values: dict[str, tuple[float, str]]) -> None:
    """Put the figures of the installation `name`."""
    dimensions = [{"Name": "Installation", "Value": name}]
    client.put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[
            {"MetricName": metric, "Dimensions": dimensions, "Value": value, "Unit": unit}
            for metric, (value, unit) in values.items()
        ],
    )


def main() -> None:
    """Look once and send."""
    os.environ.update(environment(os.environ, boto3.Session()))
    settings = load_settings()
    send(
        boto3.client("cloudwatch"),
        os.environ["SHOPLAKE_NAME"],
        figures(settings, state.status(settings), _exposition(settings)),
    )


def _exposition(settings: Settings) -> str:
    try:
        with urllib.request.urlopen(f"{settings.own_api_url}/metrics", timeout=5) as answer:  # noqa: S310 - our own
            return str(answer.read().decode())
    except OSError:
        return ""


if __name__ == "__main__":
    main()
