"""Answers about gold, made once: dashboards ask the same few questions again, and most publishes change few tables."""

from collections.abc import Callable, Hashable

from anyio import CapacityLimiter, to_thread

KEPT_ANSWERS, KEPT_BYTES = 256, 64 * 1024
"""16 MB of answers are kept at most; larger ones are made anew each time."""
MADE_AT_ONCE = 2
"""More threads would only wait for each other, and each answer would come later."""
Answer = tuple[bytes, dict[str, str]]
"""A page in its form, and its headers."""


class KeptAnswers:
    """The answers that were asked for last, by all that each depends on. Used from the event loop only."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, Answer] = {}
        self._turn = CapacityLimiter(MADE_AT_ONCE)

    async def once(self, question: Hashable, make: Callable[[], Answer]) -> Answer:
        """The answer, made in a thread when it is not kept."""
        if question not in self._answers:
            async with self._turn:
                if question not in self._answers:  # others may have asked the same while this one waited
                    self._answers[question] = await to_thread.run_sync(make)
        answer = self._answers.pop(question)
        if len(answer[0]) <= KEPT_BYTES:
            self._answers[question] = answer  # behind all that were asked for before
        if len(self._answers) > KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return answer
