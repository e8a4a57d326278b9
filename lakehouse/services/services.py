"""The parts of the platform, in the order in which `status` shows them. A new part is one line here."""

import sys
from typing import Any

from lakehouse.probes import says_ok
from lakehouse.reports import age, read_report
from lakehouse.services import cluster, kafka, s3, spark, superset
from lakehouse.services.service import CLIENT_SECRETS, Service
from lakehouse.settings import Settings


def services(settings: Settings, *, with_stream: bool = True, with_superset: bool = True) -> list[Service]:
    """All parts of this lake; external ones are in the list too and are not started."""
    return [
        kafka.service(settings),
        s3.service(settings),
        *cluster.services(settings),
        spark.service(settings),
        *([_stream(settings)] if with_stream else []),
        _worker(settings),
        _publisher(settings),
        _api(settings),
        *([superset.service(settings)] if with_superset else []),
    ]


def _stream(settings: Settings) -> Service:
    """A thin client that keeps the streaming query running in the Spark server."""
    return _reporting(
        settings,
        "stream",
        ("lakehouse.cli", "stream"),
        stale_seconds=180,
        depends_on=("kafka", "s3", "spark"),
        memory_limit_mb=256,
        memory_mb=520,
        start_seconds=300,
        stop_seconds=40,
    )


def _worker(settings: Settings) -> Service:
    """Runs jobs, and watches over the alerts. It starts without Spark too, and waits for it with what needs it."""
    return _reporting(
        settings,
        "worker",
        ("lakehouse.services.worker",),
        stale_seconds=30,
        secrets=(*CLIENT_SECRETS, "SHOPLAKE_ALERT_WEBHOOK_URL"),
        depends_on=("kafka", "s3"),
        memory_limit_mb=320 + (128 + settings.sql_memory_mb) * settings.max_parallel_runs,
        memory_mb=160 + 300 * settings.max_parallel_runs,
    )


def _publisher(settings: Settings) -> Service:
    """Keeps the serving file up to date. It publishes empty tables while the lake has none."""
    return _reporting(
        settings,
        "publisher",
        ("lakehouse.serving.publishing",),
        stale_seconds=120 + settings.publish_seconds,
        address_name="serving_file",
        address=str(settings.serving_file),
        depends_on=("s3",),
        memory_limit_mb=320 + settings.sql_memory_mb,
        memory_mb=230,
    )


def _api(settings: Settings) -> Service:
    """The HTTP API. It waits for nothing: what is missing it tells itself."""
    return Service(
        name="api",
        address_name="url",
        address=settings.own_api_url,
        command=(sys.executable, "-m", "lakehouse.cli", "api"),
        ports={"SHOPLAKE_API_PORT": settings.api_port},
        secrets=CLIENT_SECRETS,
        is_healthy=lambda _pid: says_ok(f"{settings.own_api_url}/livez"),
        memory_limit_mb=256 + settings.sql_memory_mb,
        memory_mb=130,
    )


def _reporting(settings: Settings, name: str, module: tuple[str, ...], stale_seconds: float, **more: Any) -> Service:
    """A process that says of itself that it works, and when it last did. One that was told to stop is well, too; of
    the worker, the care for others' runs has to go on."""
    file = settings.run_dir / f"{name}.json"

    def is_healthy(pid: int) -> bool:
        report = read_report(file)
        works = report.get("pid") == pid and report.get("state", "running") in ("running", "stopped")
        return works and age(report) < stale_seconds and report.get("cared_seconds_ago", 0) < 4 * stale_seconds

    return Service(
        **{"address_name": "state_file", "address": str(file), "secrets": CLIENT_SECRETS, **more},
        name=name,
        command=(sys.executable, "-m", *module),
        is_healthy=is_healthy,
    )
