"""Says who holds a port and which setting changes it, and whether the API's settings are safe."""

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Mapping

import psutil

from lakehouse.errors import UsageError
from lakehouse.settings import Settings


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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name other than localhost may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trusted_proxies(settings: Settings) -> list[str]:
    """Addresses and networks of the proxies that are believed. Raises UsageError for what would be everybody."""
    found = [one.strip() for one in settings.api_trusted_proxies.split(",") if one.strip()]
    for one in found:
        try:
            is_wrong = ipaddress.ip_network(one).prefixlen == 0
        except ValueError:
            is_wrong = True
        if is_wrong:
            raise UsageError(
                f"SHOPLAKE_API_TRUSTED_PROXIES has {one!r}, and wants the addresses or networks of your proxies:"
                " whoever is believed can pretend to be any caller."
            )
    return found


def refuse_unsafe(settings: Settings) -> None:
    """Raise UsageError for a public address without TLS, and for a certificate that cannot be used."""
    trusted_proxies(settings)
    if certificate(settings) is None and not is_loopback(settings.api_host) and not settings.api_public_without_tls:
        raise UsageError(
            f"The API would listen on {settings.api_host} without TLS, and keys could be read on their way: set"
            " SHOPLAKE_API_TLS_CERT and SHOPLAKE_API_TLS_KEY, or SHOPLAKE_API_PUBLIC_WITHOUT_TLS=true behind a proxy."
        )


def certificate(settings: Settings) -> ssl.SSLContext | None:
    """What TLS begins with; None without a certificate. Raises UsageError for one that cannot be used."""
    cert, key = settings.api_tls_cert, settings.api_tls_key
    if (cert is None) != (key is None):
        raise UsageError("TLS needs both SHOPLAKE_API_TLS_CERT and SHOPLAKE_API_TLS_KEY.")
    if cert is None or key is None:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"The certificate {cert} with the key {key} cannot be used: {error}.") from None
    return tls
