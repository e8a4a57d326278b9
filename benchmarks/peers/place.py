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
    endpoint: str
    region: str
    key: str
    secret: str
    folder: str
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

    def storage(self) -> dict[str, str]:
        """The options of delta-rs."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "aws_conditional_put": "etag",
        }
