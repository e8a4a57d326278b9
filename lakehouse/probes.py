"""Do Kafka, S3 and Spark answer? A moment's look: their own clients would try for up to minutes.

The embedded Kafka and Spark must reply, since a hung server accepts connections, too; others must accept one.
"""

import socket
import ssl
import struct
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, build_opener, getproxies

from lakehouse.s3 import address
from lakehouse.settings import Settings

SECONDS = 3.0
# An ApiVersions request, version 0: the first thing any client of Kafka asks.
_API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 1, -1)
# The HTTP/2 preface and an empty SETTINGS frame: a living gRPC server replies with its own settings.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def kafka_answers(settings: Settings) -> bool:
    """Whether one of the brokers does."""
    if settings.kafka_is_embedded:
        return replies(settings.kafka_port, _API_VERSIONS_REQUEST)
    return any(_accepts(broker.strip()) for broker in settings.bootstrap.split(","))


def spark_answers(settings: Settings) -> bool:
    """Whether the Spark Connect server does."""
    if settings.spark_is_embedded:
        return replies(settings.spark_port, _HTTP2_PREFACE)
    return _accepts(urlsplit(settings.remote).netloc, 15002)


def s3_answers(settings: Settings) -> bool:
    """Whether the S3 server does."""
    try:
        reach_s3(settings)
    except OSError:
        return False
    return True


def reach_s3(settings: Settings) -> None:
    """Raise OSError when the S3 server takes no connection; behind a proxy that cannot be told."""
    if settings.endpoint or "https" not in getproxies():
        url = urlsplit(address(settings))
        _connect(url.netloc, 443 if url.scheme == "https" else 80)


def replies(port: int, request: bytes) -> bool:
    """Whether a server on this machine replies to `request`."""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.settimeout(SECONDS)
            connection.sendall(request)
            return bool(connection.recv(1))
    except OSError:
        return False


def says_ok(url: str) -> bool:
    """Whether a server on this machine answers a GET with 200."""
    # The process is on this machine and gets nothing secret: its certificate is for others.
    unverified = HTTPSHandler(context=ssl._create_unverified_context())  # noqa: S323 - see above
    try:
        with build_opener(ProxyHandler({}), unverified).open(url, timeout=SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def _accepts(place: str, port: int | None = None) -> bool:
    try:
        _connect(place, port)
    except (OSError, ValueError):  # a port that is none
        return False
    return True


def _connect(place: str, port: int | None) -> None:
    found = urlsplit(f"//{place}")
    socket.create_connection((found.hostname or "", found.port or port or 0), SECONDS).close()
