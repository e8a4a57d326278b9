"""Answers about gold, made once: dashboards ask the same few questions again, and most publishes change few tables."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread

from lakehouse.serving.newest import PublishedTable

KEPT_ANSWERS, KEPT_BYTES = 256, 64 * 1024
"""16 MB of answers are kept at most; larger ones are made anew each time."""
MADE_AT_ONCE = 2
"""More threads would only wait for each other, and each answer would come later."""


@dataclass(frozen=True)
class Question:
    """All that an answer depends on: the table as it is published, the address with its query, the header `Accept`."""

    table: PublishedTable
    path: str
    query: str
    accept: str


@dataclass(frozen=True)
class Answer:
    """A page in its form, with its headers."""

    body: bytes
    headers: dict[str, str]


class KeptAnswers:
    """The answers that were asked for last. Used from the event loop only."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Question, Answer] = OrderedDict()
        self._turn: CapacityLimiter | None = None

    def recall(self, question: Question) -> Answer | None:
        """The answer when it is kept."""
        if question in self._answers:
            self._answers.move_to_end(question)
        return self._answers.get(question)

    async def once(self, question: Question, make: Callable[[], Answer]) -> Answer:
        """The answer, made in a thread when it is not kept."""
        self._turn = self._turn or CapacityLimiter(MADE_AT_ONCE)
        async with self._turn:
            # Others may have asked the same while this one waited.
            if (kept := self.recall(question)) is not None:
                return kept
            answer = await to_thread.run_sync(make)
        if len(answer.body) <= KEPT_BYTES:
            self._answers[question] = answer
            if len(self._answers) > KEPT_ANSWERS:
                self._answers.popitem(last=False)
        return answer
