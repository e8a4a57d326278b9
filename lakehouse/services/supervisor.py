"""Starts the parts of a lake, watches them, and ends them."""

import os
import signal
import sys
import threading
from collections.abc import Callable

from lakehouse import processes
from lakehouse.errors import ShoplakeError, exit_code
from lakehouse.lock import lake_lock, lock_holder
from lakehouse.services import superset
from lakehouse.services.child import Child
from lakehouse.services.jars import fetch_jars
from lakehouse.services.ports import check_ports
from lakehouse.services.services import services
from lakehouse.services.state import Snapshot, write_state
from lakehouse.settings import Settings, load_settings

TICK_SECONDS = 0.2


def prepare_start(settings: Settings) -> None:
    """End what a killed supervisor left, and make sure that a start can work; raises UsageError when not."""
    processes.end_lake_processes(settings)
    embedded = [service for service in services(settings) if service.is_embedded]
    check_ports({setting: port for service in embedded for setting, port in service.ports.items()})
    fetch_jars()


class Supervisor:
    """Runs in the foreground until told to stop; `report` hears of every change."""

    def __init__(
        self,
        settings: Settings,
        report: Callable[[Snapshot], None],
        *,
        with_stream: bool = True,
        with_superset: bool = False,
    ) -> None:
        self._settings = settings
        self._report = report
        self._children = [
            Child(service, settings)
            for service in services(settings, with_stream=with_stream, with_superset=with_superset)
        ]
        self._stopping = threading.Event()
        self._lock = lake_lock(settings)
        self._last: Snapshot | None = None

    def run(self) -> None:
        """Start everything and supervise it until SIGINT, SIGTERM or `stop`.

        Raises UsageError when a start cannot work, ShoplakeError when a part does not come up, or when somebody has
        deleted the folder in which all of them keep their files.
        """
        self._lock.acquire()
        try:
            prepare_start(self._settings)
            superset.wanted_file(self._settings).unlink(missing_ok=True)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda *_: self._stopping.set())
            self._watch()
        finally:
            self._stop_children()
            if self._lock.is_held:  # else the state may be another's by now
                write_state(self._settings, None)
            self._lock.release()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            if not self._lock.is_held:
                raise ShoplakeError(
                    f"The folder {self._settings.data_dir} was deleted while the platform ran: all that was started is"
                    " ended. `shoplake up` begins an empty lake."
                )
            self._add_superset_when_asked()
            by_name = {child.service.name: child for child in self._children}
            for child in self._children:
                needed = (by_name[name] for name in child.service.depends_on if name in by_name)
                child.tick(all(one.is_ready for one in needed))
                self._tell()
                if child.has_given_up:
                    raise ShoplakeError(f"The platform did not start: {child.message}")
            self._stopping.wait(TICK_SECONDS)

    def _add_superset_when_asked(self) -> None:
        wanted = superset.wanted_file(self._settings)
        if not wanted.exists():
            return
        service = superset.service(self._settings)
        if service.name not in {child.service.name for child in self._children}:
            self._children.append(Child(service, self._settings))
            self._tell()
        wanted.unlink(missing_ok=True)

    def _tell(self) -> None:
        """Write the state down and report it when it changed."""
        snapshot = Snapshot.of(os.getpid(), self._children)
        if snapshot == self._last:
            return
        self._last = snapshot
        if self._lock.is_held:  # else the deleted folder would be there again
            write_state(self._settings, snapshot)
        self._report(snapshot)

    def _stop_children(self) -> None:
        """In the reverse order of the start: what writes ends before what it writes to."""
        for child in reversed(self._children):
            child.stop()
            self._tell()
        if lock_holder(self._settings) in (None, os.getpid()):
            processes.end_lake_processes(self._settings, patience=5)


def main() -> None:
    """Supervise until told to stop, as `shoplake up --detach` starts it."""
    with_stream, with_superset = "--no-stream" not in sys.argv, "--superset" in sys.argv
    Supervisor(load_settings(), lambda _snapshot: None, with_stream=with_stream, with_superset=with_superset).run()


if __name__ == "__main__":
    sys.exit(exit_code(main))
