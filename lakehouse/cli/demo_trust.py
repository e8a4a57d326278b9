"""What the demo asks of the desk, the ledger and the gate: a job for each, and what is published.

The desk brings home what the demo's own records allow. What the gate does with gold that fails, the demo does not show:
it would have to break gold first, and somebody may be looking.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import tenacity

from lakehouse.api_client import ApiClient
from lakehouse.cli.runs import follow
from lakehouse.errors import ShoplakeError, UsageError
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


patiently = tenacity.Retrying(
    stop=tenacity.stop_after_delay(180),
    wait=tenacity.wait_fixed(1),
    retry=tenacity.retry_if_exception_type(ShoplakeError) & tenacity.retry_if_not_exception_type(UsageError),
    reraise=True,
)
"""Asks again while a part of the platform is away: the supervisor brings it back within a minute or two."""


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


def gather(settings: Settings, reader: SqlReader, since: datetime) -> Trust:
    """The checks of everything, a replay of what was refused from `since` on, then the ledger in full.

    What others refused before is theirs to mend. Gold follows what comes home, and the ledger waits for it. One job at
    a time: each takes some hundred MB.
    """
    gate = ended(settings, "quality", {"scope": "full"})
    replay = ended(settings, "replay_quarantine", {"from_time": since.isoformat(), "fix": FIX})
    ledger = ended(settings, "reconcile", {"full": "true"})
    desk = patiently(lambda: reader.query(DESK))
    return Trust(
        desk=desk,
        remedy=meaning_and_remedy(desk[0]["reason_code"])[1] if desk else "",
        replay=replay,
        ledger=ledger,
        gate=gate,
        held_back={row["table_name"]: said for row in published(settings) if (said := how_held(row))},
    )


def ended(settings: Settings, job: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A run of a job, as it ended."""
    with ApiClient(settings) as client:
        return patiently(lambda: follow(client, client.start(job, parameters)["id"], quiet=True))
