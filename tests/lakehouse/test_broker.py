"""What a real broker has, as a reader of committed records sees it: transactions that were committed, aborted, or are
open. Starts Kafka alone, some ten seconds."""

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from lakehouse import broker
from lakehouse.broker import Span
from lakehouse.services import kafka
from lakehouse.services.child import alone
from lakehouse.services.jars import fetch_jars
from lakehouse.settings import Settings
from tests.support.platform import free_settings

TOPIC = "shop.purchases"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A broker whose partition 0 of TOPIC holds t1 t2 (mark) x1 x2 (mark) t3 (mark), x1 and x2 being aborted."""
    own = free_settings(tmp_path_factory.mktemp("kafka"))
    fetch_jars(("kafka",))
    with alone(kafka.service(own), own):
        transaction(own, b"t1", b"t2")
        transaction(own, b"x1", b"x2", is_committed=False)
        transaction(own, b"t3")
        yield own


def transaction(settings: Settings, *values: bytes, is_committed: bool = True) -> None:
    producer = open_transaction(settings, *values)
    producer.commit_transaction() if is_committed else producer.abort_transaction()
    producer.close()


def open_transaction(settings: Settings, *values: bytes) -> KafkaProducer:
    producer = KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", transactional_id="till")
    producer.init_transactions()
    producer.begin_transaction()
    for value in values:
        producer.send(TOPIC, value, partition=0).get(10)
    return producer


def test_what_an_open_transaction_holds_does_not_wait_to_be_read(settings: Settings) -> None:
    _, before = broker.bounds(settings, [TOPIC])
    assert broker.lag(settings, [TOPIC], before) == 0
    producer = open_transaction(settings, b"o1")
    assert broker.bounds(settings, [TOPIC])[1] == before
    producer.commit_transaction()
    producer.close()
    assert broker.lag(settings, [TOPIC], before) == 2, "the record and its mark"


def test_marks_and_aborted_records_are_no_records(settings: Settings) -> None:
    spans = [Span(TOPIC, 0, first, end) for first, end in ((0, 1), (1, 3), (2, 6), (3, 5), (3, 7), (7, 8))]
    assert broker.first_held(settings, spans) == dict(zip(spans, (0, 1, None, None, 6, None), strict=True))
