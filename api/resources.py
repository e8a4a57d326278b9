"""What the routes share, made once per application and handed to them."""

import asyncio
from collections import Counter
from functools import cached_property
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from api.kept_answers import KeptAnswers
from api.limits import Limits
from api.metrics import Metrics
from api.readiness import Readiness
from lakehouse.runs.registry import RunRegistry
from lakehouse.serving.newest import SECONDS, NewestPublish
from lakehouse.serving.trace import THREADS
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect


class Resources:
    """The registry, the limits, published gold, and what the operations' addresses tell.

    `followers` counts the open streams of each caller; `stopping` is set when the server ends. So many questions may
    look into the lake at once as `looks` allows.
    """

    def __init__(self, settings: Settings, registry: RunRegistry) -> None:
        self.settings, self.registry = settings, registry
        self.limits, self.followers = Limits(settings), Counter[str]()
        self.readiness, self.metrics = Readiness(settings, registry), Metrics(settings, registry)
        self.publish, self.answers = NewestPublish(settings.serving_file), KeptAnswers()
        self.stopping, self.looks = asyncio.Event(), CapacityLimiter(2)

    @cached_property
    def lake(self) -> SqlReader:
        """A reader of the lake itself, for the questions that published gold cannot answer."""
        return connect(self.settings, self.settings.sql_memory_mb // 2, SECONDS, THREADS)


async def resources(request: Request) -> Resources:
    """The application's resources, for routes; `async` so that no thread is needed for it."""
    return cast(Resources, request.app.state.resources)


Shared = Annotated[Resources, Depends(resources)]
