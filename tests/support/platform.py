"""A whole platform for a test: free ports, its own folder, gone afterwards."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lakehouse.runs import schedule
from lakehouse.runs.registry import RunRegistry
from lakehouse.services.detached import start_detached, stop
from lakehouse.settings import Settings, load_settings

PORT_SETTINGS = (
    "kafka_port", "kafka_controller_port", "s3_port", "spark_port", "spark_master_port", "spark_master_ui_port",
    "api_port", "superset_port",
)  # fmt: skip


def free_settings(folder: Path, **overrides: object) -> Settings:
    """Settings of a lake in `folder` on free ports, whatever the environment and `.env` say."""
    defaults: dict[str, object] = {
        "_env_file": None,
        "data_dir": folder / "lake",
        "kafka_bootstrap": None,
        "s3_endpoint": None,
        "spark_remote": None,
        **dict(zip(PORT_SETTINGS, _free_ports(len(PORT_SETTINGS)), strict=True)),
    }
    return load_settings(**{**defaults, **overrides})


@contextmanager
def platform(folder: Path, *, stream: bool = False, **overrides: object) -> Iterator[Settings]:
    """A running platform with its data in `folder`: `running` with free settings."""
    with running(free_settings(folder, **overrides), stream=stream) as settings:
        yield settings


@contextmanager
def running(settings: Settings, *, stream: bool = False) -> Iterator[Settings]:
    """The platform of these settings, in which no job runs but those that somebody starts; an error in the test tells
    where its logs are."""
    _pause_schedules(settings)
    try:
        start_detached(settings, lambda _snapshot: None, with_stream=stream)
        yield settings
    except BaseException as error:
        error.add_note(f"The platform's logs are in {settings.logs}")
        raise
    finally:
        stop(settings)


def _pause_schedules(settings: Settings) -> None:
    registry = RunRegistry.open(settings)
    for one in schedule.all_of(registry):
        schedule.set_paused(registry, one.job, paused=True)
    registry.close()


def _free_ports(count: int) -> list[int]:
    """Distinct ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
