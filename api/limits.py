"""How much one address, one caller and one request may ask for. Counts are kept in this process."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, retry_after
from lakehouse.services.ports import is_loopback
from lakehouse.settings import Settings

MAX_HEADER_BYTES = 16 * 1024
MINUTE = 60.0
LIVENESS = "/livez"
"""Never refused: the supervisor would end a server that does not say that it lives."""
FAILED_LOGINS = 1 / 50
"""Of the requests that an address may make, how many may carry a wrong key, or that of a caller without the scope."""
FOLLOWED_BY_ONE_CALLER = 20
"""Most streams (events, followed logs) of one caller at once."""


class RateLimits:
    """Requests per minute. Whoever asks for more gets Problem `too-many-requests`."""

    def __init__(self, settings: Settings) -> None:
        most = settings.api_address_requests_per_minute
        self._addresses = Window(most)
        self._callers = Window(settings.api_caller_requests_per_minute)
        self._failures = Window(max(1, int(most * FAILED_LOGINS)))

    def count_address(self, address: str, has_key: bool) -> None:
        """Count a request of an address. Those without a key, which any page in a browser of that address can send,
        keep none with a key out."""
        network = network_of(address)
        self._addresses.count(f"{network} with a key" if has_key else network, "This address")

    def count_caller(self, caller: str) -> None:
        """Count a request of a caller."""
        self._callers.count(caller, f"The caller {caller}")

    def count_denied(self, caller: str) -> None:
        """Count a request for which a caller lacks the scope, each of which is a row of the audit trail."""
        self._failures.count(caller, f"Without the scope, the caller {caller}")

    def count_failure(self, address: str) -> None:
        """Count a wrong key of an address."""
        self._failures.count(network_of(address), "With wrong keys, this address")


class Window:
    """Counts what each did in the last minute, about: in this clock minute, and the share of the one before that the
    last sixty seconds still hold. Who did nothing for a minute is forgotten; no thread and no timer is needed for it.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.time) -> None:
        """`most` in a minute, as `now` tells the seconds."""
        self.most = most
        self._now, self._lock = now, threading.Lock()
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def wait(self, who: str) -> float:
        """Count once and return 0; or, when that would be too many, the seconds until it is not."""
        minute, passed = divmod(self._now(), MINUTE)
        with self._lock:
            if minute != self._minute:
                self._before = self._counts if minute == self._minute + 1 else {}
                self._minute, self._counts = int(minute), {}
            count, before = self._counts.get(who, 0), self._before.get(who, 0)
            if count + before * (1 - passed / MINUTE) + 1 <= self.most:
                self._counts[who] = count + 1
                return 0.0
        if count >= self.most:
            return MINUTE - passed
        return MINUTE * (1 - (self.most - count - 1) / before) - passed

    def count(self, who: str, name: str) -> None:
        """Count once. Raises Problem `too-many-requests`, which says `name`."""
        if seconds := self.wait(who):
            raise retry_after("too-many-requests", f"{name} may make {self.most} requests a minute.", seconds)


def network_of(address: str) -> str:
    """What is counted as one address: an IPv4 address, or the /64 network that one IPv6 subscriber has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:  # how IPv4 looks on a socket for both: all of it is one /64 network
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


class Followers:
    """Bounds how many streams are open, in all and per caller."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.api_max_followers
        self._open: Counter[str] = Counter()

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Take a place while the stream is open. Raises Problem `too-many-requests`."""
        if self._open.total() >= self._most or self._open[caller] >= FOLLOWED_BY_ONE_CALLER:
            raise retry_after("too-many-requests", "Too many runs are being followed at once.", 5)
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]


class RequestLimits:
    """ASGI middleware: counts the address, then reads the whole body, which must be small and come soon."""

    def __init__(self, app: ASGIApp, settings: Settings, rates: RateLimits) -> None:
        self._app, self._rates = app, rates
        self._most_bytes = settings.api_max_body_kb * 1024
        self._seconds = settings.api_slow_seconds
        # Elsewhere, or behind a proxy, it has names that only its owner knows; there it needs a key for what is secret.
        self._is_local = is_loopback(settings.api_host) and not settings.api_trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            if scope["path"] != LIVENESS:
                has_key = "authorization" in headers or "x-api-key" in headers
                self._rates.count_address((scope.get("client") or ("unknown",))[0], has_key)
            _check_head(scope)
            if self._is_local:
                _check_host(headers.get("host", "localhost"))
            body = await self._body(headers, receive)
        except Problem as problem:
            # What is left of the body is not worth reading: end the connection with the answer.
            problem.headers["Connection"] = "close"
            await problem.response(scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        if "content-length" not in headers and "transfer-encoding" not in headers:
            return b""
        if int(headers.get("content-length", "0")) > self._most_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._read(receive)
        except TimeoutError:
            raise Problem("too-slow", f"The body took more than {self._seconds:g} seconds.") from None

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._most_bytes:
                raise self._too_large()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Problem:
        return Problem("too-large", f"A body may have {self._most_bytes // 1024} KiB.")


def _check_head(scope: Scope) -> None:
    """Raise Problem `headers-too-large`, since the parser bounds only a head in several pieces, or `bad-request`."""
    names_and_values = (len(name) + len(value) for name, value in scope["headers"])
    if len(scope["raw_path"]) + len(scope["query_string"]) + sum(names_and_values) > MAX_HEADER_BYTES:
        raise Problem("headers-too-large", f"Address and headers may have {MAX_HEADER_BYTES // 1024} KiB.")
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
        raise Problem("bad-request", "It says twice how long it is, and a proxy may believe the other.")


def _check_host(host: str) -> None:
    """Raise Problem `bad-request` for another name than this machine's own: a page in a browser may let its name lead
    here (DNS rebinding), and would read what needs no key."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # of "["
        name = ""
    if not is_loopback(name):
        raise Problem("bad-request", "This server is reached as localhost or 127.0.0.1 alone.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, and then what comes after it: that the caller went away."""
    is_given = False

    async def replayed() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
