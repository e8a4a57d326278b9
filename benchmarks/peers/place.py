"""Where a peer reads and writes: told by the benchmark, in one variable of its environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field

VARIABLE = "PEER_PLACE"


@dataclass(frozen=True)
class Place:
    """The broker, the topics, the peer's own bucket, a folder for what it keeps, and options of what it runs on."""

    bootstrap: str
    topics: list[str]
    bucket: str
    folder: str
    storage: dict[str, str]
    """Options of delta-rs."""
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def told(cls) -> Place:
        """The one of this process."""
        return cls(**json.loads(os.environ[VARIABLE]))

    def environment(self) -> dict[str, str]:
        """What tells it to a process."""
        return {VARIABLE: json.dumps(asdict(self))}

    def table(self, name: str) -> str:
        """The address of a table, `gold/kpis_hourly` for example."""
        return f"s3://{self.bucket}/{name}"
