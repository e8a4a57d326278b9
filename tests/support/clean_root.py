"""The distribution in a folder of its own, booted with its own systemd: a new instance without a cloud.

It has what a minimal image has and nothing of this machine but its network and its settings for the package
registries. Needs root, debootstrap and systemd-nspawn; `missing()` says what is not there.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

SUITE = "bookworm"
BASE = "systemd,systemd-sysv,dbus,ca-certificates,iproute2"
REGISTRY_FILES = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
REGISTRY_FOLDERS = ("/etc/apt/sources.list.d", "/etc/apt/apt.conf.d", "/usr/share/keyrings")
REGISTRY_VARIABLES = ("PIP_", "UV_", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def missing() -> str | None:
    """What keeps a root from being made here."""
    if os.getuid() != 0:
        return "a clean root needs to be made by root"
    absent = [name for name in ("debootstrap", "systemd-nspawn", "nsenter") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (packages debootstrap, systemd-container)" if absent else None


def make(folder: Path) -> None:
    """Install the distribution into `folder`, as small as it comes."""
    command = ["debootstrap", "--variant=minbase", f"--include={BASE}", SUITE, str(folder), _mirror()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in REGISTRY_FILES:
        if Path(name).exists():
            shutil.copy(name, folder / name[1:])
    for name in REGISTRY_FOLDERS:
        shutil.copytree(name, folder / name[1:], dirs_exist_ok=True)
    (folder / "etc/apt/sources.list").write_text("")


def _mirror() -> str:
    """Where this machine takes the distribution from."""
    wanted = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Release: {SUITE}"]
    return subprocess.run(wanted, capture_output=True, text=True, check=True).stdout.split()[0]


@dataclass(frozen=True)
class Machine:
    """A root that is booted."""

    root: Path
    init: int
    """Process id of its systemd, seen from outside."""

    def run(self, *command: object, seconds: float = 1500) -> subprocess.CompletedProcess[str]:
        """Do it in there as root; with what it said."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(REGISTRY_VARIABLES)}
        inside = ["nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--pid", "--root", "--wdns=/root"]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **kept}
        return subprocess.run(
            [*inside, *map(str, command)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False,
        )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """What runs in there, by process ids of outside."""
        return psutil.Process(self.init).children(recursive=True)

    def journal(self, unit: str) -> str:
        """The last words of a unit."""
        return self.run("journalctl", "--no-pager", "-u", unit, "-n", "60").stdout


@contextmanager
def booted(root: Path, log: Path) -> Iterator[Machine]:
    """The root with its systemd running, on this machine's network; off afterwards."""
    command = ["systemd-nspawn", "-q", "-D", str(root), "--boot", "--register=no", "--keep-unit"]
    options = ["--resolv-conf=copy-host", "--timezone=off", "--console=pipe"]
    with log.open("wb") as said:
        process = subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield Machine(root, _init_of(process, log))
    finally:
        process.terminate()  # systemd-nspawn lets the system shut down
        try:
            process.wait(180)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _init_of(process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        for child in psutil.Process(process.pid).children():
            listening = Path(f"/proc/{child.pid}/root/run/systemd/private")
            if child.name() == "systemd" and listening.exists():
                return child.pid
        time.sleep(0.3)
    raise AssertionError(f"the root did not boot: {log.read_text(errors='replace')}")
