"""Can this machine run the platform? One sentence per finding, with the remedy."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lakehouse.errors import UsageError
from lakehouse.lock import lock_holder
from lakehouse.processes import lake_processes
from lakehouse.services.jars import cache_dir, missing_jars
from lakehouse.services.ports import busy_port_message, holder, refuse_unsafe
from lakehouse.services.service import NO_JAVA, java
from lakehouse.services.services import services
from lakehouse.settings import Settings

JAVA_VERSIONS = (17, 21)
DISK_NEEDED_GB = 3
DISK_WANTED_GB = 10
SUPERVISOR_MB = 70


@dataclass(frozen=True)
class Check:
    """One finding. A `failure` makes a start pointless, a `warning` does not."""

    name: str
    result: Literal["ok", "warning", "failure"]
    message: str


def examine(settings: Settings) -> list[Check]:
    """All checks."""
    return [*_essential(settings), *_ports(settings), _jars()]


def require_startable(settings: Settings) -> None:
    """Raise UsageError with the sentence of the first check that rules a start out."""
    for check in _essential(settings):
        if check.result == "failure":
            raise UsageError(check.message)


def _essential(settings: Settings) -> Iterator[Check]:
    checks: tuple[Callable[[Settings], Check], ...] = (_java, _memory, _disk, _folders, _api)
    return (check(settings) for check in checks)


def java_version(output: str) -> int | None:
    """The major version out of what `java -version` prints."""
    found = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(found[1]) if found else None


def _java(_settings: Settings) -> Check:
    try:
        path = java()
        output = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except UsageError as error:
        return Check("Java", "failure", str(error))
    except (OSError, subprocess.SubprocessError):
        return Check("Java", "failure", NO_JAVA)
    version = java_version(output)
    if version not in JAVA_VERSIONS:
        return Check("Java", "failure", f"{path} is Java {version}: install Java 17 or 21, or set JAVA_HOME to it.")
    return Check("Java", "ok", f"{version} at {path}")


def memory_by_part(settings: Settings) -> dict[str, int]:
    """About how many MB each part takes that is started here, without Superset."""
    parts = services(settings, with_superset=False)
    return {one.name: one.memory_mb for one in parts if one.is_embedded} | {"supervisor": SUPERVISOR_MB}


def memory_needed_mb(settings: Settings) -> int:
    """About how many MB the platform takes."""
    return sum(memory_by_part(settings).values())


def _memory(settings: Settings) -> Check:
    import psutil

    needed = memory_needed_mb(settings)
    by_part = ", ".join(f"{name} {mb}" for name, mb in memory_by_part(settings).items())
    memory = psutil.virtual_memory()
    total = min(memory.total // 2**20, _container_limit_mb() or 2**40)
    free = min(memory.available // 2**20, total)
    remedy = "lower SHOPLAKE_SPARK_MEMORY_MB, or end other programs"
    if total < needed:
        return Check("memory", "failure", f"{total} MB of memory are less than the {needed} MB needed: {remedy}.")
    if free < needed:
        return Check("memory", "warning", f"{free} MB of memory are free, {needed} MB will be used: {remedy}.")
    return Check("memory", "ok", f"{free} MB free, about {needed} MB needed: {by_part}; Superset would take more")


def _container_limit_mb() -> int | None:
    """The memory limit of the container this runs in, if any."""
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text()) // 2**20
    except (OSError, ValueError):
        return None


def _disk(settings: Settings) -> Check:
    folder = next(parent for parent in (settings.data_dir, *settings.data_dir.parents) if parent.exists())
    free = shutil.disk_usage(folder).free // 2**30
    remedy = "free some, or set SHOPLAKE_DATA_DIR to a larger disk"
    if free < DISK_NEEDED_GB:
        return Check("disk", "failure", f"{free} GB are free at {folder}, {DISK_NEEDED_GB} GB are needed: {remedy}.")
    if free < DISK_WANTED_GB:
        return Check("disk", "warning", f"{free} GB are free at {folder}, which is not much: {remedy}.")
    return Check("disk", "ok", f"{free} GB free at {folder}")


def _folders(settings: Settings) -> Check:
    remedies = {settings.data_dir: "set SHOPLAKE_DATA_DIR"}
    if missing_jars():  # where all were fetched, by root on a server, nothing has to be written there
        remedies[cache_dir()] = "set XDG_CACHE_HOME"
    for folder, remedy in remedies.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            message = f"{folder} cannot be written ({error.strerror}): {remedy} to a folder of your own."
            return Check("folders", "failure", message)
    return Check("folders", "ok", "what has to be written can be")


def _api(settings: Settings) -> Check:
    try:
        refuse_unsafe(settings)
    except UsageError as error:
        return Check("API", "failure", str(error))
    return Check("API", "ok", "its address and certificate are safe to listen with")


def _ports(settings: Settings) -> Iterator[Check]:
    """Ports of the embedded parts; those that this very lake holds are fine."""
    own = {process.pid for process in lake_processes(settings)} if lock_holder(settings) else set()
    for service in services(settings):
        for setting, port in service.ports.items() if service.is_embedded else ():
            message = busy_port_message(setting, port)
            process = holder(port) if message else None
            if message and not (process and process.pid in own):
                yield Check(f"port {port}", "failure", message)
            else:
                yield Check(f"port {port}", "ok", "held by this lake" if message else f"free ({setting})")


def _jars() -> Check:
    missing = missing_jars()
    if not missing:
        return Check("JVM parts", "ok", f"all are in {cache_dir()}")
    size = sum(jar.size for jar in missing) // 10**6
    return Check("JVM parts", "warning", f"{len(missing)} are not there yet: the first start fetches {size} MB.")
