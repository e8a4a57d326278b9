"""What the demo asks of the desk, the ledger and the gate: three jobs, beside one another, and what is published."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lakehouse.api_client import ApiClient
from lakehouse.cli.run_view import run_to_end
from lakehouse.serving_file import published
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader
from producer.reasons import meaning_and_remedy

FIX = "cast data.price=number; route; rekey"
"""Mends what can be mended of the simulator's defects: prices as text, the wrong topic, another's key."""
DESK = """
SELECT status, reason_code, count(*) AS records FROM silver.quarantine GROUP BY ALL
ORDER BY status, records DESC, reason_code
"""


@dataclass(frozen=True)
class Trust:
    """The facts of the block: runs as they ended, counts of the desk, and what the publisher holds back."""

    desk: list[dict[str, Any]]
    """Refused records by status and reason code, open ones first, of them the most frequent."""
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
def quality_beside(settings: Settings) -> Iterator[Future[dict[str, Any]]]:
    """The job `quality` over everything, while the block does something else."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_ended, settings, "quality", {"scope": "full"})


def gather(settings: Settings, reader: SqlReader, gate: dict[str, Any]) -> Trust:
    """A replay that brings home what can be mended, and the ledger; `gate` is the run of `quality`."""
    with ThreadPoolExecutor(2) as pool:
        replay = pool.submit(_ended, settings, "replay_quarantine", {"fix": FIX})
        ledger = pool.submit(_ended, settings, "reconcile", {"full": "true"})
        replayed, desk = replay.result(), reader.query(DESK)
        return Trust(
            desk=desk,
            remedy=meaning_and_remedy(desk[0]["reason_code"])[1] if desk else "",
            replay=replayed,
            ledger=ledger.result(),
            gate=gate,
            held_back={row["table_name"]: row["blocked_by"] for row in published(settings) if row["blocked_by"]},
        )


def _ended(settings: Settings, job: str, parameters: dict[str, Any]) -> dict[str, Any]:
    with ApiClient(settings) as client:
        return run_to_end(client, job, parameters, quiet=True)
