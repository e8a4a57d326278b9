"""The publisher of the serving file as a child process."""

from __future__ import annotations

import sys

from lakehouse.reports import age, read_report
from lakehouse.services.service import CLIENT_SECRETS, Service
from lakehouse.settings import Settings

STALE_SECONDS = 120


def service(settings: Settings) -> Service:
    """The publisher as the supervisor sees it. It publishes empty tables while the lake has none."""
    return Service(
        name="publisher",
        address_name="serving_file",
        address=str(settings.serving_file),
        command=(sys.executable, "-m", "lakehouse.serving.publishing"),
        secrets=CLIENT_SECRETS,
        is_healthy=lambda pid: _is_running(settings, pid),
        depends_on=("s3",),
        memory_limit_mb=320 + settings.sql_memory_mb,
        memory_mb=230,
        start_seconds=120,
        stop_seconds=10,
    )


def _is_running(settings: Settings, pid: int) -> bool:
    report = read_report(settings.run_dir / "publisher.json")
    return report.get("pid") == pid and age(report) < STALE_SECONDS + settings.publish_seconds
