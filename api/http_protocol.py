"""HTTP/1.1 with bounds that uvicorn lacks: a deadline for a request's headers, and errors as problem+json."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.limits import MAX_HEADER_BYTES
from api.problems import KINDS, MEDIA_TYPE, Problem, encode, retry_after

OVERLOAD_RETRY_SECONDS = 2
_UNREAD = (h11.IDLE,)


def bounded_protocol(header_seconds: float, most_connections: int) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's `http` option. `header_seconds` is how long a request's head may take."""

    class BoundedProtocol(H11Protocol):
        """One connection."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most_connections:
                detail = f"{most_connections} connections are open."
                self._end_with(retry_after("overloaded", detail, OVERLOAD_RETRY_SECONDS))
            else:
                self._expect_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_waiting_for_head:
                self._expect_head()
            else:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # Between requests uvicorn's own keep-alive time-out holds; a head that has begun needs this one.
            if self._is_waiting_for_head and self.conn.trailing_data[0]:
                self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            is_large = len(self.conn.trailing_data[0]) > MAX_HEADER_BYTES
            detail = f"Headers may have {MAX_HEADER_BYTES // 1024} KiB." if is_large else "It cannot be parsed."
            self._end_with(Problem("headers-too-large" if is_large else "bad-request", detail))

        @property
        def _is_waiting_for_head(self) -> bool:
            return self.conn.their_state in _UNREAD

        def _expect_head(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(header_seconds, self._on_deadline)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _on_deadline(self) -> None:
            self._deadline = None
            if not self.transport.is_closing() and self._is_waiting_for_head:
                self._end_with(Problem("too-slow", f"The headers took more than {header_seconds:g} seconds."))

        def _end_with(self, problem: Problem) -> None:
            """Answer without the application, which never saw a request, and close."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                request_id = uuid.uuid4().hex
                body = encode(problem.body(request_id))
                headers = [
                    ("Content-Type", MEDIA_TYPE),
                    ("Content-Length", str(len(body))),
                    ("Connection", "close"),
                    ("X-Request-ID", request_id),
                    ("X-Content-Type-Options", "nosniff"),
                    *problem.headers.items(),
                ]
                reason = KINDS[problem.kind].title.encode()
                head = h11.Response(status_code=problem.status, headers=headers, reason=reason)
                for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

    return BoundedProtocol
