"""Remembers whose key was shown a moment ago: looking it up costs more than answering from published gold."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from api import keys
from api.keys import Caller
from lakehouse.runs.database import Database

MOST_REMEMBERED = 1_000


class KnownCallers:
    """Callers by their key, each as long as the registry stays as it was, and a minute at most.

    So a revoked key is refused at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: tuple[object, dict[bytes, tuple[datetime, Caller]]] = (None, {})

    def recall(self, credential: str) -> Caller | None:
        """The caller when there is no need to look anything up; never waits. Raises RegistryAway."""
        until, caller = self._current().get(_digest(credential), (None, None))
        return caller if until is not None and datetime.now(UTC) < until else None

    def recognise(self, credential: str) -> Caller | None:
        """Whose key this is, from the registry; None when it is not valid. Raises RegistryAway."""
        known = self._current()
        caller = keys.recognise(self._database, credential)
        # Noted under the mark from before the look-up: whatever changed meanwhile makes it be looked up again.
        if caller is not None and len(known) < MOST_REMEMBERED:
            until = datetime.now(UTC) + keys.USE_IS_NOTED_EVERY
            known[_digest(credential)] = (min(until, caller.expires_at or until), caller)
        return caller

    def _current(self) -> dict[bytes, tuple[datetime, Caller]]:
        """Who is known of the registry as it is now."""
        mark = self._database.mark()
        known_at, known = self._known
        if mark != known_at:
            self._known = (mark, known := {})
        return known


def _digest(credential: str) -> bytes:
    """What is looked up: how long the search takes then tells nothing about the keys that are known."""
    return hashlib.sha256(credential.encode()).digest()
