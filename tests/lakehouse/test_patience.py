"""What is asked again while a part is away, and what is not."""

from __future__ import annotations

import pytest

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.patience import patiently


class Away:
    def __init__(self, times: int, error: type[ShoplakeError] = ShoplakeError) -> None:
        self.asked, self._times, self._error = 0, times, error

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self._times:
            raise self._error("away")
        return "here"


def test_it_asks_until_there_is_an_answer() -> None:
    away = Away(3)
    assert patiently(away, pause=0) == "here"
    assert away.asked == 4


def test_it_gives_up_with_the_last_error() -> None:
    with pytest.raises(ShoplakeError, match="away"):
        patiently(Away(3), seconds=0, pause=0)


def test_wrong_use_is_told_at_once() -> None:
    away = Away(1, UsageError)
    with pytest.raises(UsageError):
        patiently(away, pause=0)
    assert away.asked == 1
