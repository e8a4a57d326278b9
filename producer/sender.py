"""Sending records with kafka-python: idempotent, acknowledged by all, compressed, bounded."""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaProducer
from kafka.errors import BrokerResponseError, KafkaError, RetriableError
from kafka.partitioner import DefaultPartitioner, murmur2

from lakehouse.broker import client_options
from lakehouse.errors import ShoplakeError
from lakehouse.probes import kafka_answers
from lakehouse.settings import Settings
from producer.record import Record
from producer.topics import MAX_MESSAGE_BYTES, TOPICS, apply_topics

MAX_PENDING_RECORDS = 20_000
MAX_PENDING_BYTES = 64 * 1024 * 1024
SILENCE_SECONDS = 5.0
"""After this long without an acknowledgement, Kafka counts as away."""
STOP_FLUSH_SECONDS = 10.0
"""How long a stopped sender waits for what it has already sent."""
LONG_AGO_MS = 30 * 24 * 3_600_000
"""Nothing is given up while the broker is away: giving up after a while would tear the idempotent sequence."""


@dataclass
class Counts:
    """How many records were handed to Kafka's client, and what became of them; `waiting` while Kafka is away."""

    sent: int = 0
    acked: int = 0
    failed: int = 0
    seconds: float = 0.0
    waiting: bool = False

    @property
    def unacknowledged(self) -> int:
        """Records whose fate is unknown: sent, but never answered."""
        return self.sent - self.acked - self.failed

    @property
    def rate(self) -> float:
        """Acknowledged records per second."""
        return self.acked / self.seconds if self.seconds > 0 else 0.0


class CachedPartitioner(DefaultPartitioner):  # type: ignore[misc]
    """Kafka's usual placement by key, remembering the hashes: users come again, and hashing in Python is slow."""

    def __init__(self) -> None:
        self._hash = lru_cache(maxsize=1 << 17)(murmur2)

    def partition(
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        """The record's partition."""
        if serialized_key is None:
            return int(super().partition(topic, key, serialized_key, value, serialized_value, cluster))
        return int((self._hash(serialized_key) & 0x7FFFFFFF) % len(cluster.partitions_for_topic(topic)))


class QuietProducer(KafkaProducer):  # type: ignore[misc]
    """A producer that, once given up with records unacknowledged, does not complain again when it is collected."""

    def __del__(self) -> None:
        """Nothing: the sender closes it."""


class Sender:
    """Sends records and counts what was acknowledged, in `counts`."""

    def __init__(self, settings: Settings, stop: threading.Event, ledger: Path | None = None) -> None:
        """`connect` opens a connection. `stop` ends every wait."""
        self.counts = Counts()
        self._settings = settings
        self._stop = stop
        if ledger is not None:
            ledger.parent.mkdir(parents=True, exist_ok=True)
        self._ledger = ledger.open("wb") if ledger is not None else None
        self._pending: deque[tuple[Any, Record, int]] = deque()
        """What is not answered yet: the future of its answer, the record, and when it was sent (epoch milliseconds)."""
        self._pending_bytes = 0
        self._producer: Any = None
        self._last_answer = time.monotonic()
        logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what a person must know, the counts say

    def connect(self) -> bool:
        """Wait for the broker, make its topics as declared and open the producer. False when stopped meanwhile.

        Raises ShoplakeError when the broker answers but refuses for good.
        """
        while not self._stop.is_set():
            self.counts.waiting = not (kafka_answers(self._settings) and self._opens())
            if not self.counts.waiting:
                self._last_answer = time.monotonic()
                return True
            self._stop.wait(0.5)
        return False

    def _opens(self) -> bool:
        """Whether the topics are as declared now, and the producer knows them."""
        try:
            apply_topics(self._settings)
            self._producer = open_producer(self._settings)
            for topic in TOPICS:
                self._producer.partitions_for(topic)
        except ShoplakeError as error:
            if isinstance(error.__cause__, BrokerResponseError) and not isinstance(error.__cause__, RetriableError):
                raise
            return False
        except (KafkaError, OSError):
            self._discard_producer()
            return False
        return True

    def send(self, records: Iterable[Record]) -> None:
        """Send records in order; waits while too many are unacknowledged. Drops the rest when stopped."""
        send = self._producer.send
        for record in records:
            while len(self._pending) >= MAX_PENDING_RECORDS or self._pending_bytes >= MAX_PENDING_BYTES:
                self._wait_a_little()
                if self._stop.is_set():
                    return
            now_ms = int(time.time() * 1000)
            self.counts.sent += 1
            try:
                future = send(record.topic, record.value, record.key, None, None, now_ms)
            except (KafkaError, ValueError):
                self.counts.failed += 1
                continue
            self._pending_bytes += len(record.value or b"")
            self._pending.append((future, record, now_ms))
        self._harvest()

    def finish(self) -> None:
        """Wait for what is unacknowledged (for a while only when stopped), close everything."""
        if self._producer is not None:
            deadline = time.monotonic() + STOP_FLUSH_SECONDS
            while self._pending and not (self._stop.is_set() and time.monotonic() > deadline):
                self._wait_a_little()
            self._discard_producer()
            self._harvest()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _wait_a_little(self) -> None:
        with suppress(KafkaError):  # too early, or refused: both show below
            self._pending[0][0].get(timeout=0.2)
        self._harvest()

    def _harvest(self) -> None:
        """Count the answers that have come."""
        pending, now = self._pending, time.monotonic()
        while pending and pending[0][0].is_done:
            future, record, sent_ms = pending.popleft()
            self._pending_bytes -= len(record.value or b"")
            if future.exception is not None:
                self.counts.failed += 1
                continue
            self.counts.acked += 1
            self._last_answer = now
            if self._ledger is not None:
                self._ledger.write(_ledger_line(record, sent_ms, future.value))
        if not pending:
            self._last_answer = now
        self.counts.waiting = now - self._last_answer > SILENCE_SECONDS

    def _discard_producer(self) -> None:
        if self._producer is not None:
            with suppress(KafkaError):  # unacknowledged records stay counted as such
                self._producer.close(timeout=1 if self._pending else 30)
            self._producer = None


def open_producer(settings: Settings) -> Any:
    """A new producer: idempotent, acknowledged by all, compressed. Raises KafkaError when no broker answers."""
    return QuietProducer(
        bootstrap_servers=settings.bootstrap,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        batch_size=256 * 1024,
        linger_ms=20,
        max_request_size=8 * MAX_MESSAGE_BYTES,
        partitioner=CachedPartitioner(),
        delivery_timeout_ms=LONG_AGO_MS,
        request_timeout_ms=10_000,
        reconnect_backoff_max_ms=1_000,
        bootstrap_timeout_ms=10_000,
        max_block_ms=10_000,
        allow_auto_create_topics=False,
        metrics_enabled=False,
        **client_options(settings),
    )


def _ledger_line(record: Record, sent_ms: int, place: Any) -> bytes:
    entry: dict[str, object] = {
        "topic": record.topic,
        "partition": place.partition,
        "offset": place.offset,
        "event_id": record.event_id,
        "sha256": None if record.value is None else hashlib.sha256(record.value).hexdigest(),
        "produced_at": sent_ms,
    }
    if record.defect:
        entry["defect"], entry["reason"] = record.defect, record.reason
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
