"""The worker service as a child process, with its own children: it runs jobs, and watches over the alerts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lakehouse.errors import exit_code
from lakehouse.reports import age, read_report
from lakehouse.services.service import CLIENT_SECRETS, Service
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from lakehouse.runs.members import Prepare

STALE_SECONDS = 30


def service(settings: Settings) -> Service:
    """The workers as the supervisor sees them. They start without Spark too, and wait for it with what needs it."""
    return Service(
        name="worker",
        address_name="state_file",
        address=str(settings.run_dir / "worker.json"),
        command=(sys.executable, "-m", "lakehouse.services.worker"),
        secrets=(*CLIENT_SECRETS, "SHOPLAKE_ALERT_WEBHOOK_URL"),
        is_healthy=lambda pid: _is_running(settings, pid),
        depends_on=("kafka", "s3"),
        memory_limit_mb=320 + (192 + settings.sql_memory_mb) * settings.max_parallel_runs,
        memory_mb=160 + 300 * settings.max_parallel_runs,
        start_seconds=120,
        stop_seconds=20,
    )


def _is_running(settings: Settings, pid: int) -> bool:
    """Whether the workers have become warm and the care for them goes on."""
    report = read_report(settings.run_dir / "worker.json")
    is_alive = report.get("pid") == pid and report.get("state") == "running" and age(report) < STALE_SECONDS
    longest = 4 * STALE_SECONDS
    return is_alive and bool(report.get("cared_seconds_ago", longest) < longest)


def main(prepare: Prepare | None = None) -> int:
    """Run until told to stop. Each worker calls `prepare` first."""
    # Not above: every worker imports this module too.
    from lakehouse.monitoring.watch import Watch
    from lakehouse.runs.supervisor import Supervisor

    return exit_code(lambda: Supervisor(load_settings(), Watch, prepare).run())


if __name__ == "__main__":
    sys.exit(main())
