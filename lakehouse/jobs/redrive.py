"""Sends records to Kafka once more, with the time they had, and tells where they now stand."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from typing import NamedTuple

from kafka.errors import KafkaError

from lakehouse.errors import ShoplakeError
from lakehouse.places import Place
from lakehouse.settings import Settings
from producer.sender import open_producer

PATIENCE_SECONDS = 60.0


class Again(NamedTuple):
    """A record to be sent; `timestamp` is the Kafka time that it keeps (aware, UTC)."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp: datetime


def send_again(settings: Settings, records: Iterable[Again]) -> list[Place]:
    """Send the records in their order; their new places, in the same order.

    Raises ShoplakeError when Kafka does not take them all: some may stand there then, which does no harm.
    """
    try:
        with closing(open_producer(settings)) as producer:
            sent = [
                producer.send(
                    record.topic, record.value, record.key, timestamp_ms=round(record.timestamp.timestamp() * 1000)
                )
                for record in records
            ]
            answers = [future.get(timeout=PATIENCE_SECONDS) for future in sent]
    except KafkaError as error:
        raise ShoplakeError(f"Kafka at {settings.bootstrap} does not take the records ({error}); try again.") from error
    return [Place(answer.topic, answer.partition, answer.offset) for answer in answers]
