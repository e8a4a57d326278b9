"""What is tried again while a part is away or another writer was first, and what is not."""

import pytest
from pyspark.errors import PySparkException
from tenacity import stop_after_attempt, wait_none

from lakehouse.cli.demo import tour as demo
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lake import ATTEMPTS, settled

patiently = demo.patiently.copy(wait=wait_none())
CONFLICT = PySparkException("[DELTA_CONCURRENT_APPEND] somebody else was first")


class Away:
    def __init__(self, times: int, error: Exception) -> None:
        self.asked, self._times, self._error = 0, times, error

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return "here"


def test_it_asks_until_there_is_an_answer() -> None:
    away = Away(3, ShoplakeError("away"))
    assert patiently(away) == "here"
    assert away.asked == 4


def test_it_gives_up_with_the_last_error() -> None:
    with pytest.raises(ShoplakeError, match="away"):
        patiently.copy(stop=stop_after_attempt(2))(Away(3, ShoplakeError("away")))


def test_wrong_use_is_told_at_once() -> None:
    away = Away(1, UsageError("wrong"))
    with pytest.raises(UsageError):
        patiently(away)
    assert away.asked == 1


def test_a_write_that_met_another_is_made_again() -> None:
    met = Away(2, CONFLICT)
    assert settled(met, wait=wait_none()) == "here" and met.asked == 3


def test_a_write_that_meets_others_for_ever_fails_with_the_conflict() -> None:
    met = Away(99, CONFLICT)
    with pytest.raises(PySparkException, match="DELTA_CONCURRENT"):
        settled(met, wait=wait_none())
    assert met.asked == ATTEMPTS


def test_another_fault_of_a_write_is_not_tried_again() -> None:
    broken = Away(1, PySparkException("no such column"))
    with pytest.raises(PySparkException, match="no such column"):
        settled(broken, wait=wait_none())
    assert broken.asked == 1
