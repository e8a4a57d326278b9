"""Superset as a child process, in its own environment; only with `shoplake up --superset`."""

from pathlib import Path

import psutil

from lakehouse.errors import UsageError
from lakehouse.probes import says_ok
from lakehouse.services.ports import busy_port_message, is_loopback, trusted_proxies
from lakehouse.services.service import PROJECT_ROOT, Service
from lakehouse.settings import Settings

NAME = "superset"
PYTHON = PROJECT_ROOT / ".venv-superset" / "bin" / "python"
FOLDER = PROJECT_ROOT / "superset"


def service(settings: Settings) -> Service:
    """Superset as the supervisor sees it. Whatever keeps it from starting, the rest of the platform goes on."""
    return Service(
        name=NAME,
        address_name="url",
        address=settings.superset_url,
        command=(str(PYTHON), str(FOLDER / "serve.py")),
        env=environment(settings),
        secrets=("SHOPLAKE_SUPERSET_DATABASE_URL",),
        is_healthy=lambda _pid: says_ok(f"{settings.superset_url}/health"),
        prepare=lambda: check(settings),
        depends_on=("publisher",),
        memory_limit_mb=settings.superset_memory_mb,
        memory_mb=settings.superset_memory_mb,
        start_seconds=480,
        is_optional=True,
    )


def environment(settings: Settings) -> dict[str, str]:
    """What Superset's processes need to know: where their files are. Times are UTC wherever it runs."""
    return {
        "SUPERSET_HOME": str(settings.superset_home),
        "SUPERSET_CONFIG_PATH": str(FOLDER / "superset_config.py"),
        "SHOPLAKE_SERVING_FILE": str(settings.serving_file),
        "SHOPLAKE_SUPERSET_HOST": settings.superset_host,
        "SHOPLAKE_SUPERSET_PORT": str(settings.superset_port),
        "PYTHONPATH": "",
        "PYTHONWARNINGS": "ignore",
        "TZ": "UTC",
    }


def wanted_file(settings: Settings) -> Path:
    """Asks the running supervisor to start Superset, too; it takes the file away."""
    return settings.run_dir / "superset.wanted"


def check(settings: Settings) -> None:
    """Raise UsageError with one sentence when Superset cannot start here."""
    if not is_loopback(settings.superset_host) and not trusted_proxies(settings):
        raise UsageError(
            f"would listen on {settings.superset_host} without TLS, and passwords could be read on their way: name the"
            " proxy before it in SHOPLAKE_API_TRUSTED_PROXIES, or leave SHOPLAKE_SUPERSET_HOST out"
        )
    if not (PYTHON.parents[1] / ".installed").is_file():
        raise UsageError("is not installed: run `make superset`")
    free = psutil.virtual_memory().available // 2**20
    if free < settings.superset_memory_mb:
        raise UsageError(
            f"needs {settings.superset_memory_mb} MB of memory, and {free} MB are free: end other programs"
        )
    if message := busy_port_message("SHOPLAKE_SUPERSET_PORT", settings.superset_port):
        raise UsageError(f"cannot start. {message.rstrip('.')}")
