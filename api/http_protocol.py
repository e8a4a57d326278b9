"""HTTP/1.1 with bounds that uvicorn lacks: a deadline for a request's headers and one for its body, connections in all
and per address, and errors as problem+json.

Who is silent makes room: where there are too many connections, the oldest one goes that asks nothing, or takes no more
of its answer. Where all are at work, a newcomer is answered `overloaded`, but for one that asks whether the server
lives: the supervisor would end a server that cannot say so.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import uuid
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from api.limits import LIVENESS, MAX_HEADER_BYTES, network_of
from api.problems import Problem, retry_after
from api.request_context import add_headers
from lakehouse.services.ports import trusted_proxies
from lakehouse.settings import Settings

OVERLOAD_RETRY_SECONDS = 2
SHARE_OF_ONE_ADDRESS = 0.25
"""Of all connections, how many may come from one address that is no proxy's."""
_ASKS_IF_ALIVE = re.compile(
    rf"GET {LIVENESS} (?!.*\n(?:content-length|transfer-encoding):).*\r\n\r\n".encode(), re.DOTALL | re.IGNORECASE
)
"""In one piece and without a body, which could take its time."""
_COMING = (h11.IDLE, h11.SEND_BODY)
"""What h11 says of a request of which more is to come."""


def bounded_protocol(settings: Settings, tls: ssl.SSLContext | None) -> Callable[..., asyncio.BaseProtocol]:
    """What makes a connection's protocol, for uvicorn's `http` option; with `tls`, it begins with that."""
    slow_seconds, most = settings.api_slow_seconds, settings.api_max_connections
    most_of_one = max(1, int(most * SHARE_OF_ONE_ADDRESS))
    proxies = [ip_network(one) for one in trusted_proxies(settings)]
    open_by_age: dict[BoundedProtocol, str] = {}
    """Where each connection comes from, the oldest first."""

    class BoundedProtocol(H11Protocol):
        """One connection."""

        _deadline: asyncio.TimerHandle | None = None
        is_extra = False
        """Whether it is one too many, and may ask nothing but whether the server lives."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self in open_by_age:  # it begins again, inside TLS
                return
            sender = network_of(self.client[0] if self.client else "::")
            siblings = [one for one, other in open_by_age.items() if other == sender]
            if len(siblings) >= most_of_one and not _is_one_of(sender, proxies):
                self.is_extra = _is_beyond(siblings)
            elif len(open_by_age) >= most:
                self.is_extra = _is_beyond(list(open_by_age))
            open_by_age[self] = sender
            self._expect_more()

        def data_received(self, data: bytes) -> None:
            if self.is_extra and not _ASKS_IF_ALIVE.fullmatch(data):
                detail = f"{most} connections are open, or {most_of_one} of this address."
                self._end_with(retry_after("overloaded", detail, OVERLOAD_RETRY_SECONDS))
                return
            before = self.conn.their_state
            super().data_received(data)
            if self.conn.their_state is not before:
                self._stop_waiting()
            if self.conn.their_state in _COMING:
                self._expect_more()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # Between requests uvicorn's own keep-alive time-out holds; a head that has begun needs this one.
            if self.is_waiting_for_head and self.conn.trailing_data[0]:
                self._expect_more()

        def connection_lost(self, exc: Exception | None) -> None:
            open_by_age.pop(self, None)
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            is_large = len(self.conn.trailing_data[0]) > MAX_HEADER_BYTES
            detail = f"Headers may have {MAX_HEADER_BYTES // 1024} KiB." if is_large else "It cannot be parsed."
            self._end_with(Problem("headers-too-large" if is_large else "bad-request", detail))

        def make_room(self) -> None:
            """Go, without a word: nobody would hear it."""
            open_by_age.pop(self, None)
            self.transport.abort()

        @property
        def is_waiting_for_head(self) -> bool:
            """Whether it is between requests, or has sent a part of its next one's head."""
            return self.conn.their_state is h11.IDLE

        def _expect_more(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(slow_seconds, self._on_deadline)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _on_deadline(self) -> None:
            self._deadline = None
            if not self.transport.is_closing() and self.conn.their_state in _COMING:
                self._end_with(Problem("too-slow", f"Headers and body may take {slow_seconds:g} seconds each."))

        def _end_with(self, problem: Problem) -> None:
            """Answer without the application, unless it has begun to, and close."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                request_id = uuid.uuid4().hex
                answer = problem.response(request_id)
                add_headers(answer.headers, request_id, self.scheme or "http")
                answer.headers["Connection"] = "close"
                status, reason = answer.status_code, STATUS_PHRASES[answer.status_code]
                head = h11.Response(status_code=status, headers=answer.raw_headers, reason=reason)
                for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            if self.cycle is not None:
                self.cycle.disconnected = True  # the application may say no more
            self.transport.close()

    def _is_beyond(others: list[BoundedProtocol]) -> bool:
        """Whether a newcomer is one too many, when the oldest of the others that is silent has made room for it."""
        silent = next((one for one in others if one.is_waiting_for_head or one.flow.write_paused), None)
        if silent is not None:
            silent.make_room()
        return silent is None or silent.is_extra

    class Secured(SSLProtocol):
        """TLS around it. asyncio tells of a connection when TLS has begun, and nobody would count the others."""

        def __init__(self, **given: Any) -> None:
            self._inner, loop = BoundedProtocol(**given), asyncio.get_running_loop()
            super().__init__(loop, self._inner, tls, None, True, ssl_handshake_timeout=slow_seconds)  # type: ignore[arg-type]  # nobody waits

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._inner.connection_made(transport)

        def connection_lost(self, exc: Any) -> None:
            super().connection_lost(exc)
            if self._inner.scheme == "http":  # TLS has never begun: asyncio tells nothing
                self._inner.connection_lost(exc)

    return BoundedProtocol if tls is None else Secured


def _is_one_of(sender: str, proxies: list[IPv4Network | IPv6Network]) -> bool:
    """Whether a proxy sends it, which speaks for many."""
    if not proxies:
        return False
    network = ip_network(sender)
    return any(network.network_address in proxy and network.prefixlen >= proxy.prefixlen for proxy in proxies)
