"""How much one address, one caller and one request may ask for. Counts are kept in this process."""

import ipaddress
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from api.problems import Problem, retry_after
from lakehouse.services.ports import is_loopback
from lakehouse.settings import Settings

MAX_HEADER_BYTES = 16 * 1024
MINUTE = 60.0
LIVENESS = "/livez"
"""Never refused: the supervisor would end a server that does not say that it lives."""
FAILED_LOGINS = 1 / 50
"""Of the requests that an address may make, how many may carry a wrong key, or that of a caller without the scope."""


class Window:
    """Counts what each did in the last minute, about: in this clock minute, and the share of the one before that the
    last sixty seconds still hold. Who did nothing for a minute is forgotten. Used from the event loop only.
    """

    def __init__(self, most: int, name: str, now: Callable[[], float] = time.time) -> None:
        """`most` in a minute, as `now` tells the seconds; `name` is said of who wants more."""
        self._most, self._name, self._now = most, name, now
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def wait(self, who: str) -> float:
        """Count once and return 0; or, when that would be too many, the seconds until it is not."""
        minute, passed = divmod(self._now(), MINUTE)
        if minute != self._minute:
            self._before = self._counts if minute == self._minute + 1 else {}
            self._minute, self._counts = int(minute), {}
        count, before = self._counts.get(who, 0), self._before.get(who, 0)
        if count + before * (1 - passed / MINUTE) + 1 <= self._most:
            self._counts[who] = count + 1
            return 0.0
        if count >= self._most:
            return MINUTE - passed
        return MINUTE * (1 - (self._most - count - 1) / before) - passed

    def count(self, who: str) -> None:
        """Count once. Raises Problem `too-many-requests`."""
        if seconds := self.wait(who):
            raise retry_after("too-many-requests", f"{self._name} may make {self._most} requests a minute.", seconds)


def network_of(address: str) -> str:
    """What is counted as one address: an IPv4 address, or the /64 network that one IPv6 subscriber has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    # How IPv4 looks on a socket for both: all of it would be one /64 network.
    found = getattr(found, "ipv4_mapped", None) or found
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), 64), strict=False))


class Limits:
    """Requests per minute: of addresses, of callers, and of those who are refused, each a row of the audit trail; and
    what a request must be before anything else is done for it."""

    def __init__(self, settings: Settings) -> None:
        most = settings.api_address_requests_per_minute
        refused = max(1, int(most * FAILED_LOGINS))
        self.addresses = Window(most, "This address")
        self.callers = Window(settings.api_caller_requests_per_minute, "This caller")
        self.wrong_keys = Window(refused, "With wrong keys, this address")
        self.missing_scopes = Window(refused, "Without the scope, this caller")
        self._most_bytes = settings.api_max_body_kb * 1024
        # Elsewhere, or behind a proxy, it has names that only its owner knows; there it needs a key for what is secret.
        self._is_local = is_loopback(settings.api_host) and not settings.api_trusted_proxies

    def check(self, scope: Scope) -> None:
        """Count the address. Raises Problem for too many requests, too large a head or body, and a false name."""
        headers = Headers(scope=scope)
        if scope["path"] != LIVENESS:
            network = network_of((scope.get("client") or ("unknown",))[0])
            # Those without a key, which any page in a browser of that address can send, keep none with a key out.
            has_key = "authorization" in headers or "x-api-key" in headers
            self.addresses.count(f"{network} with a key" if has_key else network)
        # The parser bounds only a head that comes in several pieces.
        names_and_values = (len(name) + len(value) for name, value in scope["headers"])
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(names_and_values) > MAX_HEADER_BYTES:
            raise Problem("headers-too-large", f"Address and headers may have {MAX_HEADER_BYTES // 1024} KiB.")
        if "content-length" in headers and "transfer-encoding" in headers:
            raise Problem("bad-request", "It says twice how long it is, and a proxy may believe the other.")
        if self._is_local:
            _check_host(headers.get("host", "localhost"))
        if int(headers.get("content-length", "0")) > self._most_bytes:
            raise body_too_large(self._most_bytes)


def body_too_large(most_bytes: int) -> Problem:
    """The problem of a body with more than that; what is left of it is not read."""
    return Problem("too-large", f"A body may have {most_bytes // 1024} KiB.", headers={"Connection": "close"})


def _check_host(host: str) -> None:
    """Raise Problem `bad-request` for another name than this machine's own: a page in a browser may let its name lead
    here (DNS rebinding), and would read what needs no key."""
    name = ""
    with suppress(ValueError):  # what is no name of a host at all
        name = urlsplit(f"//{host}").hostname or ""
    if not is_loopback(name):
        raise Problem("bad-request", "This server is reached as localhost or 127.0.0.1 alone.")
