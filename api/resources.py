"""What the routes share, made once per application and handed to them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, cast

import structlog
from anyio import CapacityLimiter
from fastapi import Depends, Request

from api.kept_answers import KeptAnswers
from api.known_callers import KnownCallers
from api.limits import Followers, RateLimits
from api.metrics import Metrics
from api.readiness import Readiness
from lakehouse.runs.registry import RunRegistry
from lakehouse.serving.newest import SECONDS, NewestPublish
from lakehouse.serving.trace import THREADS
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect


@dataclass
class Resources:
    """The registry, who is known of it, the limits, published gold, and what the operations' addresses tell.

    `stopping` is set when the server ends. So many questions may look into the lake at once as `looks` allows.
    """

    settings: Settings
    registry: RunRegistry
    callers: KnownCallers
    rates: RateLimits
    followers: Followers
    readiness: Readiness
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger
    publish: NewestPublish
    answers: KeptAnswers = field(default_factory=KeptAnswers)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    looks: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))

    @cached_property
    def lake(self) -> SqlReader:
        """A reader of the lake itself, for the questions that published gold cannot answer."""
        return connect(self.settings, self.settings.sql_memory_mb // 2, SECONDS, THREADS)


async def resources(request: Request) -> Resources:
    """The application's resources, for routes; `async` so that no thread is needed for it."""
    return cast(Resources, request.app.state.resources)


Shared = Annotated[Resources, Depends(resources)]
