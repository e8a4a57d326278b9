"""Publishing, with the sender exchanged: order per user, pacing, stopping, counting. The broker comes in tests/e2e."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from lakehouse.settings import Settings
from producer import publish as publishing
from producer.publish import publish
from producer.record import Record
from producer.sender import CachedPartitioner, Counts

SETTINGS = Settings(_env_file=None)


class FakeSender:
    """Acknowledges everything at once."""

    sent: ClassVar[list[tuple[float, Record]]] = []

    def __init__(self, _settings: object, _stop: object, _ledger: Path | None) -> None:
        self.counts = Counts()
        FakeSender.sent = []

    def connect(self) -> bool:
        return True

    def send(self, records: list[Record]) -> None:
        FakeSender.sent += [(time.monotonic(), record) for record in records]
        self.counts.sent += len(records)
        self.counts.acked += len(records)

    def finish(self) -> None:
        pass


@pytest.fixture(autouse=True)
def fake_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "Sender", FakeSender)


def records(count: int, spacing: float = 0.0, start: float = 0.0) -> Iterator[Record]:
    for number in range(count):
        yield Record("shop.clicks", b"u1", b"%d" % number, start + number * spacing)


def test_all_records_are_sent_in_order_and_counted() -> None:
    counts = publish(records(1234), SETTINGS)
    assert (counts.sent, counts.acked, counts.failed, counts.unacknowledged) == (1234, 1234, 0, 0)
    assert [record.value for _, record in FakeSender.sent] == [b"%d" % n for n in range(1234)]


def test_live_records_that_waited_for_kafka_are_not_live_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    began, clock = time.monotonic(), [time.time()]
    monkeypatch.setattr("time.time", lambda: clock[-1] + time.monotonic() - began)
    monkeypatch.setattr(FakeSender, "connect", lambda _self: clock.append(clock[0] + 3600) or True)
    publish(records(20, spacing=1, start=clock[0]), SETTINGS, live_from=clock[0])
    assert len(FakeSender.sent) == 20 and time.monotonic() - began < 5


def test_live_records_leave_when_they_are_due() -> None:
    began = time.monotonic()
    publish(records(20, spacing=0.02), SETTINGS, live_from=0.0)
    lags = [at - began - record.due for at, record in FakeSender.sent]
    assert min(lags) > -0.01 and time.monotonic() - began >= 0.38


def test_stopping_ends_an_endless_stream() -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    counts = publish(records(10**9, spacing=0.001), SETTINGS, live_from=0.0, stop=stop)
    assert 0 < counts.sent == counts.acked < 2000


def test_the_observer_sees_progress() -> None:
    seen: list[int] = []
    publish(records(8, spacing=0.1), SETTINGS, live_from=0.0, observe=lambda counts: seen.append(counts.sent))
    assert seen and seen == sorted(seen)


def test_the_partitioner_places_keys_where_kafka_does() -> None:
    class Cluster:
        def partitions_for_topic(self, _topic: str) -> set[int]:
            return set(range(7))

    place = CachedPartitioner().partition
    assert {key: place("t", None, key, None, None, Cluster()) for key in JAVA_HASHES} == {
        key: (java & 0x7FFFFFFF) % 7 for key, java in JAVA_HASHES.items()
    }
    assert place("t", None, b"21", None, None, Cluster()) == (JAVA_HASHES[b"21"] & 0x7FFFFFFF) % 7


JAVA_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"abc": 479470107,
}
"""Taken from the unit tests of Kafka's own Java client."""
