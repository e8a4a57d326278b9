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

    So a revoked key is refused at once. Both methods raise RegistryAway.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, tuple[object, datetime, Caller]] = {}

    def recall(self, credential: str) -> Caller | None:
        """The caller when there is no need to look anything up; never waits."""
        known = self._known.get(_digest(credential))
        if known is None:
            return None
        mark, until, caller = known
        return caller if mark == self._database.mark() and datetime.now(UTC) < until else None

    def recognise(self, credential: str) -> Caller | None:
        """Whose key this is, from the registry; None when it is not valid."""
        mark = self._database.mark()  # from before the look-up: whatever changes meanwhile makes it be looked up again
        caller = keys.recognise(self._database, credential)
        if caller is not None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            until = datetime.now(UTC) + keys.USE_IS_NOTED_EVERY
            self._known[_digest(credential)] = (mark, min(until, caller.expires_at or until), caller)
        return caller


def _digest(credential: str) -> bytes:
    """What is looked up: how long the search takes then tells nothing about the keys that are known."""
    return hashlib.sha256(credential.encode()).digest()
