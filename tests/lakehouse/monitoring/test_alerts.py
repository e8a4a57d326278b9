"""An alert is told once when it begins and once when it ends, whoever looks, whatever dies, however sinks behave."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from lakehouse.monitoring.book import Book, firing
from lakehouse.monitoring.rules import RULES
from lakehouse.monitoring.sinks import NotSent, Sink, to_webhook
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings
from tests.support.alert_calls import Seen, note_and_tell, seen, watch_over
from tests.support.receiver import Receiver

NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
BROKEN = {"failed_jobs": 2.0}


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def book(registry: RunRegistry) -> Book:
    return Book(registry.settings, registry.database)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def changes(book: Book, at: datetime, **values: float | None) -> list[tuple[str, str]]:
    noted = book.note(seen(**values), ["webhook"], at)
    return [(rule, "firing" if is_firing else "resolved") for rule, is_firing in noted]


def test_a_rule_is_told_when_it_begins_and_when_it_ends(book: Book) -> None:
    assert changes(book, NOON) == []
    assert changes(book, after(1), failed_jobs=2) == [("run_failed", "firing")]
    assert changes(book, after(2), failed_jobs=3) == []
    assert changes(book, after(3), failed_jobs=None) == [], "what cannot be told changes nothing"
    assert book.alerts()["run_failed"].detail == "failed_jobs is 3"
    assert changes(book, after(4)) == [("run_failed", "resolved")]
    assert changes(book, after(5)) == []


def test_what_is_wrong_at_the_first_look_is_told(book: Book) -> None:
    assert changes(book, NOON, blocked_tables=1) == [("table_blocked", "firing")]


def test_a_rule_waits_until_what_it_sees_holds(book: Book) -> None:
    assert changes(book, NOON, lag_records=200_000) == []
    assert changes(book, after(30)) == [], "a short peak is no alert"
    assert changes(book, after(40), lag_records=200_000) == []
    assert changes(book, after(99), lag_records=200_000) == []
    assert changes(book, after(100), lag_records=200_000) == [("stream_behind", "firing")]
    assert changes(book, after(110)) == [], "and a short lull is no end"
    assert changes(book, after(120), lag_records=200_000) == []
    assert changes(book, after(130)) == []
    assert changes(book, after(190)) == [("stream_behind", "resolved")]


def test_limits_come_from_the_settings(registry: RunRegistry) -> None:
    settings = registry.settings.model_copy(update={"alert_quarantine_share": 0.5})
    strict, lenient = Book(registry.settings, registry.database), Book(settings, registry.database)
    assert changes(lenient, NOON, refused_share=0.4) == []
    assert changes(strict, NOON, refused_share=0.4) == [("quarantine_rising", "firing")]


def test_a_message_says_what_is_wrong_and_what_to_do(book: Book, registry: RunRegistry) -> None:
    book.note(seen(failed_jobs=2), ["webhook"], NOON)
    (message,) = book.untold("webhook")
    rule = next(rule for rule in RULES if rule.name == "run_failed")
    assert message["lake"] == registry.settings.bucket and message["at"] == "2027-03-01T12:00:00+00:00"
    assert (message["severity"], message["value"], message["limit"]) == ("warning", 2, 0)
    for text in (rule.means, "failed_jobs is 2", rule.what_to_do):
        assert text in message["text"]


def test_a_rule_that_is_no_more_is_forgotten(registry: RunRegistry) -> None:
    Book(registry.settings, registry.database).note(seen(failed_jobs=1), [], NOON)
    Book(registry.settings, registry.database, RULES[:1]).note(seen(), [], NOON)
    assert list(Book(registry.settings, registry.database).alerts()) == [RULES[0].name]


def test_a_sink_that_was_away_hears_the_newest_of_each_rule(book: Book) -> None:
    changes(book, NOON, failed_jobs=1)
    (first,) = book.untold("webhook")
    assert first["state"] == "firing" and book.untold("webhook")[0]["id"] == first["id"]
    assert book.untold("sns") == [], "who came later is told of what comes later"
    changes(book, after(1))
    changes(book, after(2), blocked_tables=1)
    assert [one["state"] for one in book.untold("webhook")] == ["resolved", "firing"]
    book.taken("webhook", first)
    assert book.waiting() == {"webhook": 2}, "of what is no more nothing is taken"
    for one in book.untold("webhook"):
        book.taken("webhook", one)
    assert not book.waiting()
    assert book.untold("webhook") == []


def test_a_receiver_that_fails_hangs_and_recovers_gets_each_message_once(
    registry: RunRegistry, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.monitoring.watch.TELL_SECONDS", 0.05)
    monkeypatch.setattr("lakehouse.monitoring.watch.LONGEST_PAUSE_SECONDS", 0.2)
    sink = Sink("webhook", partial(to_webhook, receiver.url, seconds=0.3))
    told: list[dict[str, Any]] = []

    class Kept:
        name = "log"

        def send(self, message: dict[str, Any]) -> None:
            told.append(message)

    figures = seen(**BROKEN)
    watch = watch_over(registry.settings, registry.database, Seen(figures), [sink, Kept()])
    receiver.answer = 503
    watch.start()
    try:
        wait_until(lambda: receiver.attempts >= 1)
        receiver.answer = "hang"
        wait_until(lambda: receiver.attempts >= 2)
        receiver.answer = 200
        wait_until(lambda: len(receiver.accepted) == 1)
        figures.update(seen())
        wait_until(lambda: len(receiver.accepted) == 2 and len(told) == 2)
        time.sleep(0.5)
    finally:
        watch.stop()
    assert receiver.states == [("run_failed", "firing"), ("run_failed", "resolved")]
    assert receiver.keys == [message["id"] for message in told] and len(set(receiver.keys)) == 2


def wait_until(holds: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_several_processes_and_restarts_tell_each_change_once(
    settings: Settings, registry: RunRegistry, processes: ProcessPoolExecutor, receiver: Receiver
) -> None:
    for values, heard in ((BROKEN, 1), ({}, 2), (BROKEN, 3)):
        asked = [processes.submit(note_and_tell, settings, receiver.url, values) for _ in range(3)]
        assert max(one.result(300) for one in asked) > 0, "one of them has looked"
        assert len(receiver.accepted) == heard
    assert receiver.states == [("run_failed", state) for state in ("firing", "resolved", "firing")]
    assert [alert.rule for alert in firing(settings)] == ["run_failed"]


def test_a_look_from_outside_makes_no_database(tmp_path: Any, settings: Settings) -> None:
    nowhere = settings.model_copy(update={"data_dir": tmp_path / "nowhere"})
    assert firing(nowhere) == []
    assert not nowhere.data_dir.exists()


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_a_slow_receiver_takes_no_longer_than_allowed(receiver: Receiver, answer: str) -> None:
    receiver.answer = answer
    with pytest.raises(NotSent, match=r"webhook at 127\.0\.0\.1 (did not answer within 0 s|cannot be reached)"):
        to_webhook(receiver.url, {"id": "1"}, seconds=0.3)
