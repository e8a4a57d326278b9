"""An alert is told once when it begins and once when it ends, whoever looks, whatever dies, however sinks behave."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lakehouse.monitoring.book import GIVE_UP, TAKEN_SECONDS, Book, firing, pause_seconds
from lakehouse.monitoring.rules import RULES
from lakehouse.monitoring.sinks import NotSent, WebhookSink
from lakehouse.monitoring.watch import Watch
from lakehouse.runs.records import now
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings
from tests.support.alert_calls import note_and_deliver, seen
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
    return [(change["alert"], change["state"]) for change in book.note(seen(**values), ["webhook"], at)]


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
    (message,) = book.note(seen(failed_jobs=2), ["webhook"], NOON)
    rule = next(rule for rule in RULES if rule.name == "run_failed")
    assert message["lake"] == registry.settings.bucket and message["at"] == "2027-03-01T12:00:00+00:00"
    assert (message["severity"], message["value"], message["limit"]) == ("warning", 2, 0)
    for text in (rule.means, "failed_jobs is 2", rule.what_to_do):
        assert text in message["text"]


def test_a_rule_that_is_no_more_is_forgotten(registry: RunRegistry) -> None:
    Book(registry.settings, registry.database).note(seen(failed_jobs=1), [], NOON)
    Book(registry.settings, registry.database, RULES[:1]).note(seen(), [], NOON)
    assert list(Book(registry.settings, registry.database).alerts()) == [RULES[0].name]


def test_of_one_rule_the_beginning_is_told_before_the_end(book: Book) -> None:
    changes(book, NOON, failed_jobs=1)
    changes(book, after(1))
    changes(book, after(2), blocked_tables=1)
    first = book.take("webhook", after(3))
    assert first is not None and first.message["state"] == "firing"
    other = book.take("webhook", after(3))
    assert other is not None and other.message["alert"] == "table_blocked", "another rule does not wait"
    assert book.take("webhook", after(3)) is None, "what is taken is nobody else's"
    book.not_sent(first, "no", after(4))
    assert book.take("webhook", after(4)) is None, "a failed one waits, and its end behind it"
    again = book.take("webhook", after(5))
    assert again is not None and (again.seq, again.attempts) == (first.seq, 2)
    book.sent(again, after(6))
    end = book.take("webhook", after(6))
    assert end is not None and end.message["state"] == "resolved"


def test_pauses_grow_and_in_the_end_a_message_is_given_up(book: Book) -> None:
    assert [pause_seconds(attempt) for attempt in (1, 2, 3, 9, 10, 50)] == [1, 2, 4, 256, 300, 300]
    changes(book, NOON, failed_jobs=1)
    for at, again in ((NOON, after(1)), (after(1), after(3)), (after(3), after(7)), (NOON + GIVE_UP, None)):
        notice = book.take("webhook", at)
        assert notice is not None
        assert book.not_sent(notice, "no", at) == again
    assert book.waiting() == {}


def test_a_message_whose_process_died_is_sent_by_another(book: Book, receiver: Receiver) -> None:
    changes(book, NOON, failed_jobs=1)
    died = book.take("webhook", NOON)
    assert died is not None
    assert book.take("webhook", after(TAKEN_SECONDS - 1)) is None
    again = book.take("webhook", after(TAKEN_SECONDS))
    assert again is not None and again.message["id"] == died.message["id"]
    book.sent(died, after(TAKEN_SECONDS + 1))
    assert book.waiting() == {"webhook": 1}, "who has lost it cannot say that it arrived"
    book.sent(again, after(TAKEN_SECONDS + 2))
    assert book.waiting() == {}


def test_a_receiver_that_fails_hangs_and_recovers_gets_each_message_once(
    registry: RunRegistry, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.monitoring.watch.DELIVER_SECONDS", 0.05)
    monkeypatch.setattr("lakehouse.monitoring.book.pause_seconds", lambda _attempts: 0.05)
    sink = WebhookSink(receiver.url, seconds=0.3)
    told: list[dict[str, Any]] = []

    class Kept:
        name = "log"

        def send(self, message: dict[str, Any]) -> None:
            told.append(message)

    figures = seen(**BROKEN)

    class Seen:
        def gather(self) -> Any:
            return figures

    settings = registry.settings.model_copy(update={"alert_seconds": 0.05})
    watch = Watch(settings, registry.database, Seen(), [sink, Kept()])  # type: ignore[arg-type]
    receiver.answer = 503
    watch.start()
    try:
        wait_until(lambda: receiver.attempts >= 1)
        receiver.answer = "hang"
        wait_until(lambda: receiver.attempts >= 2)
        figures.update(seen())
        wait_until(lambda: len(told) == 2)
        receiver.answer = 200
        wait_until(lambda: len(receiver.accepted) == 2)
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
    begin = now() - timedelta(minutes=1)
    for turn, values in enumerate((BROKEN, {}, BROKEN)):
        moments = [begin + timedelta(seconds=turn * 10 + number / 10) for number in range(5)]
        asked = [processes.submit(note_and_deliver, settings, receiver.url, moments, values) for _ in range(3)]
        assert sum(one.result(120) for one in asked) == 1
    # A process may have been refused the database, and left a message to the next.
    watch = Watch(settings, registry.database, told=[sink := WebhookSink(receiver.url)])
    wait_until(lambda: watch.deliver(sink) is None and not Book(settings, registry.database).waiting(), 60)
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
        WebhookSink(receiver.url, seconds=0.3).send({"id": "1"})
