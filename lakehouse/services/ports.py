"""Says who holds a port, and which setting changes it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

import psutil

from lakehouse.errors import UsageError


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of this machine now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder(port: int) -> psutil.Process | None:
    """The process that listens on a port, where the system tells."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            is_listener = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if is_listener and connection.pid:
                return psutil.Process(connection.pid)
    return None


def busy_port_message(setting: str, port: int) -> str | None:
    """One sentence about a busy port with the remedy, None when it is free."""
    if is_free(port):
        return None
    process = holder(port)
    name = "another process"
    if process is not None:
        with contextlib.suppress(psutil.Error):
            name = f"{process.name()} (process {process.pid})"
    return f"Port {port} is held by {name}: end it, or set {setting} to another port."


def check_ports(ports: Mapping[str, int]) -> None:
    """Raise UsageError for the first port that is busy or given twice."""
    by_port: dict[int, str] = {}
    for setting, port in ports.items():
        if port in by_port:
            raise UsageError(f"{by_port[port]} and {setting} are both {port}: give one of them another port.")
        by_port[port] = setting
        if message := busy_port_message(setting, port):
            raise UsageError(message)
