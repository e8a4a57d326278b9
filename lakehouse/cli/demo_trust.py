"""What the demo asks of the desk, the ledger and the gate: a job for each, and what is published.

The desk brings home what the demo's own records allow. What the gate does with gold that fails, the demo does not show:
it would have to break gold first, and somebody may be looking.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lakehouse.api_client import ApiClient
from lakehouse.cli.run_view import run_to_end
from lakehouse.serving.file import published
from lakehouse.serving.held import how_held
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from producer.contract import meaning_and_remedy

FIX = "cast data.price=number; route; rekey"
"""Mends what can be mended of the simulator's defects: prices as text, the wrong topic, another's key."""
DESK = """
SELECT status, reason_code, count(*) AS records FROM silver.quarantine GROUP BY ALL ORDER BY records DESC, reason_code
"""


@dataclass(frozen=True)
class Runs:
    """What runs beside the look for fraud: the runs of `quality` and `replay_quarantine` as they will have ended."""

    gate: Future[dict[str, Any]]
    replay: Future[dict[str, Any]]


@dataclass(frozen=True)
class Trust:
    """The facts of the block: runs as they ended, counts of the desk, and what the publisher holds back."""

    desk: list[dict[str, Any]]
    """Refused records by status and reason code, the most frequent first."""
    remedy: str
    """What to do about the most frequent reason."""
    replay: dict[str, Any]
    ledger: dict[str, Any]
    gate: dict[str, Any]
    held_back: dict[str, str]
    """Failing expectations by table."""

    @property
    def is_right(self) -> bool:
        """Whether the books balance and nothing is held back."""
        ended_well = all(run["state"] == "succeeded" for run in (self.replay, self.ledger, self.gate))
        return ended_well and not self.held_back


@contextmanager
def running_beside(settings: Settings, since: datetime) -> Iterator[Runs]:
    """While the block does something else: the checks of everything, and a replay of what was refused from `since` on.

    What others refused before is theirs to mend. The replay comes to its end before the ledger is asked: gold follows
    what comes home, and the ledger would wait for it.
    """

    with ThreadPoolExecutor(2) as pool:
        yield Runs(
            gate=pool.submit(_ended, settings, "quality", {"scope": "full"}),
            replay=pool.submit(_ended, settings, "replay_quarantine", {"from_time": since.isoformat(), "fix": FIX}),
        )


def gather(settings: Settings, reader: SqlReader, runs: Runs) -> Trust:
    """The ledger in full, and what the desk and the publisher show after `runs`."""
    ledger = _ended(settings, "reconcile", {"full": "true"})
    desk = reader.query(DESK)
    return Trust(
        desk=desk,
        remedy=meaning_and_remedy(desk[0]["reason_code"])[1] if desk else "",
        replay=runs.replay.result(),
        ledger=ledger,
        gate=runs.gate.result(),
        held_back={row["table_name"]: said for row in published(settings) if (said := how_held(row))},
    )


def _ended(settings: Settings, job: str, parameters: dict[str, Any]) -> dict[str, Any]:
    with ApiClient(settings) as client:
        return run_to_end(client, job, parameters, quiet=True)
