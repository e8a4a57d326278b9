"""Answers about gold, made once: dashboards ask the same few questions again, and most publishes change few tables."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from anyio import CapacityLimiter, to_thread

from lakehouse.serving_publish import PublishedTable

KEPT_ANSWERS, KEPT_BYTES = 256, 64 * 1024
"""16 MB of answers are kept at most; larger ones are made anew each time."""
MADE_AT_ONCE = 2
"""More threads would only wait for each other, and each answer would come later."""

Question = tuple[PublishedTable, str, str, str]
"""What an answer depends on: the table as published, its name, the form, and the query string."""
Answer = tuple[bytes, str | None]
"""A page in its form, and the cursor of the next one."""


class KeptAnswers:
    """The answers that were asked for last. Used from the event loop only."""

    def __init__(self) -> None:
        """Nothing was asked."""
        self._answers: OrderedDict[Question, Answer] = OrderedDict()
        self._turn: CapacityLimiter | None = None

    async def once(self, question: Question, make: Callable[[], Answer]) -> Answer:
        """The answer, made in a thread when it is not kept."""
        if (kept := self._recalled(question)) is not None:
            return kept
        self._turn = self._turn or CapacityLimiter(MADE_AT_ONCE)
        async with self._turn:
            # Others may have asked the same while this one waited.
            if (kept := self._recalled(question)) is not None:
                return kept
            answer = await to_thread.run_sync(make)
        if len(answer[0]) <= KEPT_BYTES:
            self._answers[question] = answer
            if len(self._answers) > KEPT_ANSWERS:
                self._answers.popitem(last=False)
        return answer

    def _recalled(self, question: Question) -> Answer | None:
        if question in self._answers:
            self._answers.move_to_end(question)
        return self._answers.get(question)
