"""What the supervisor writes down about its children, and what `status`, `up` and `down` read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from lakehouse.lock import lock_holder
from lakehouse.processes import is_alive, memory_mb
from lakehouse.reports import read_report, replace_text
from lakehouse.services.service import Service
from lakehouse.services.services import services
from lakehouse.settings import Settings
from lakehouse.stream.progress import lag

if TYPE_CHECKING:
    from lakehouse.services.child import Child

UNSUPERVISED = "unsupervised"


@dataclass(frozen=True)
class ServiceState:
    """State of one part: `down`, `starting`, `up`, `failed` or `external`."""

    state: str
    address: str
    pid: int | None
    message: str
    is_optional: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether it can be used: `up` or `external`."""
        return self.state in ("up", "external")


@dataclass(frozen=True)
class Snapshot:
    """State of the whole platform, as its supervisor saw it last."""

    supervisor: int
    services: dict[str, ServiceState]

    @classmethod
    def of(cls, supervisor: int, children: Iterable[Child]) -> Snapshot:
        """The state of these children now."""
        states = {}
        for child in children:
            part = child.service
            states[part.name] = ServiceState(child.state, part.address, child.pid, child.message, part.is_optional)
        return cls(supervisor, states)

    @property
    def is_up(self) -> bool:
        """Whether every part is up or external; an optional one may have failed."""
        return all(one.is_ready or (one.is_optional and one.state == "failed") for one in self.services.values())


_AS_JSON = TypeAdapter(Snapshot)


def state_path(settings: Settings) -> Path:
    """Where the state is written down."""
    return settings.run_dir / "state.json"


def write_state(settings: Settings, snapshot: Snapshot | None) -> None:
    """Write the state (None removes it); a reader sees the old or the new one, nothing between."""
    path = state_path(settings)
    if snapshot is None:
        path.unlink(missing_ok=True)
        return
    replace_text(path, _AS_JSON.dump_json(snapshot).decode())


def read_state(settings: Settings) -> Snapshot | None:
    """The state that was written last; None when nothing was started."""
    try:
        return _AS_JSON.validate_json(state_path(settings).read_bytes())
    except (OSError, ValueError):
        return None


def status(settings: Settings) -> dict[str, dict[str, Any]]:
    """State, address, process id and memory of each part, and the stream's lag: what `shoplake status` tells."""
    snapshot = read_state(settings)
    is_supervised = lock_holder(settings) is not None
    known = snapshot.services if snapshot else {}
    report = {
        service.name: _service_status(settings, service, known.get(service.name), is_supervised)
        for service in services(settings)
    }
    for name in ("stream", "publisher"):
        said = read_report(settings.run_dir / f"{name}.json").get("message")
        report[name]["message"] = report[name]["message"] or said or ""
    report["stream"]["lag"] = lag(settings)
    return report


def _service_status(
    settings: Settings, service: Service, known: ServiceState | None, is_supervised: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {"state": "down", service.address_name: service.address, "pid": None, "memory_mb": 0}
    found["message"] = known.message if known else ""
    if not service.is_embedded:
        return {**found, "state": "external"}
    if known is None:
        return found
    if is_supervised:
        found["state"] = known.state
    if known.pid is not None and is_alive(settings, known.pid):
        found |= {"pid": known.pid, "memory_mb": memory_mb(known.pid)}
        if not is_supervised:
            found |= {"state": "up" if service.is_healthy(known.pid) else "failed", "message": UNSUPERVISED}
    return found
