"""What Kafka holds beside plain records: transactions that were committed and aborted, the marks they leave, times that
are none, keys and headers of any kind."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import InvalidTimestampError

from lakehouse.lake import Lake
from lakehouse.session import connect
from lakehouse.stream.progress import lag
from tests.support.platform import platform
from tests.support.refused import replayed
from tests.support.shop import Shop, eventually, shoplake

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("kafka")
    with platform(folder, stream=True) as settings:
        yield Shop(settings, folder)


def order(name: str, user: str, amount: float) -> tuple[str, bytes, bytes]:
    """Topic, key and value of a purchase."""
    event: dict[str, Any] = {
        "event_id": name,
        "event_type": "purchase",
        "user_id": user,
        "timestamp": (HOUR + timedelta(minutes=len(name))).isoformat(),
        "data": {"order_id": name, "total_amount": amount},
    }
    return "shop.purchases", user.encode(), json.dumps(event).encode()


def send(shop: Shop, *orders: tuple[str, bytes, bytes], ends: str = "") -> None:
    """Send orders to partition 0, in a transaction that `ends` so, or plainly."""
    options = {"transactional_id": "till"} if ends else {}
    producer = KafkaProducer(bootstrap_servers=shop.settings.bootstrap, acks="all", **options)
    if ends:
        producer.init_transactions()
        producer.begin_transaction()
    for topic, key, value in orders:
        producer.send(topic, value, key, partition=0)
    producer.flush()
    if ends:
        getattr(producer, f"{ends}_transaction")()
    producer.close()


def test_what_was_rolled_back_is_not_counted_and_marks_are_no_lost_records(shop: Shop) -> None:
    send(shop, order("x0", "aborted", 1000), ends="abort")
    shop.wait_until_read()
    send(shop, order("t1", "kept", 10), order("t2", "kept", 10), ends="commit")
    shop.wait_until_read()
    send(shop, order("x1", "aborted", 1000), order("x2", "aborted", 1000), ends="abort")
    shop.wait_until_read()
    send(shop, order("t3", "kept", 10), ends="commit")
    shop.wait_until_read()
    send(shop, order("t4", "plain", 10))
    shop.wait_until_read()
    by_user = "select user_id, count(*) as n from silver.events group by 1 order by 1"
    assert shop.ask(by_user) == [{"user_id": "kept", "n": 3}, {"user_id": "plain", "n": 1}]
    revenue = f"select revenue from gold.kpis_hourly where hour_start = TIMESTAMPTZ '{HOUR.isoformat()}'"
    eventually(lambda: [float(row["revenue"]) for row in shop.ask(revenue)] == [40.0], 120, "the hour's revenue is 40")
    (book,) = shop.ask(
        "select min(from_offset) as first, max(to_offset) as next, sum(to_offset - from_offset)::BIGINT as offsets,"
        " sum(bronze_rows)::BIGINT as bronze from ops.batches where topic = 'shop.purchases' and \"partition\" = 0"
    )
    assert book == {"first": 0, "next": 11, "offsets": 11, "bronze": 4}


def test_nothing_waits_on_a_quiet_topic_whose_last_offset_is_a_mark(shop: Shop) -> None:
    send(shop, order("t5", "kept", 10), ends="commit")
    shop.wait_until_read()
    eventually(lambda: lag(shop.settings) == 0, 30, "the stream's own report says so, too")
    send(shop, order("x3", "aborted", 10), ends="abort")
    shop.wait_until_read()


def test_the_ledger_tells_marks_as_a_note(shop: Shop) -> None:
    def reconciled() -> Any:
        return shoplake(shop, "reconcile", "--full")

    done = eventually(lambda: (found := reconciled()).returncode == 0 and found, 180, "the books balance")
    assert "offsets hold no record" in done.stdout + done.stderr


def send_at(shop: Shop, name: str, sent: float, **how: Any) -> None:
    """An order with a Kafka time of its own, in whatever unit."""
    topic, key, value = order(name, "timed", 1)
    with KafkaProducer(bootstrap_servers=shop.settings.bootstrap, acks="all") as producer:
        producer.send(topic, value, how.pop("key", key), timestamp_ms=int(sent), **how).get(30)


def test_no_time_key_or_header_stops_the_stream(shop: Shop) -> None:
    now = datetime.now(UTC).timestamp()
    times = {"seconds": now, "none": -1, "zero": 0, "negative": -5, "old": (now - 5 * 366 * 86_400) * 1000}
    for name, sent in times.items():
        send_at(shop, f"k-{name}", sent)
    for name, sent in (("micros", now * 1e6), ("nanos", now * 1e9), ("deep", -now * 1e9)):
        with pytest.raises(InvalidTimestampError):
            send_at(shop, f"k-{name}", sent)
    send_at(shop, "k-null-key", now * 1000, key=None, headers=[("h", b"\xff\x00" * 50_000), ("", b"")])
    send_at(shop, "k-binary", now * 1000, key=b"\xff\x00\xfe")
    send_at(shop, "k-huge", now * 1000, key=b"k" * 900_000)
    shop.wait_until_read()
    reasons = shop.ask(
        "select json_extract_string(decode(value), '$.event_id') as id, reason_code, reason_detail"
        " from silver.quarantine order by id"
    )
    assert {row["id"]: row["reason_code"] for row in reasons} == {
        "k-binary": "wrong_key",
        "k-huge": "wrong_key",
        "k-negative": "bad_kafka_time",
        "k-none": "bad_kafka_time",
        "k-old": "timestamp_in_future",
        "k-seconds": "bad_kafka_time",
        "k-zero": "bad_kafka_time",
    }
    assert all("Kafka time is " in str(row["reason_detail"]) for row in reasons if row["reason_code"] != "wrong_key")
    assert shop.ask("select event_id from silver.events where user_id = 'timed'") == [{"event_id": "k-null-key"}]


def test_a_record_with_a_wrong_kafka_time_comes_home(shop: Shop) -> None:
    spark = connect(shop.settings)
    try:
        lake = Lake(spark, shop.settings)
        assert replayed(lake, reason="bad_kafka_time", fix="retime seconds", dry_run="true")["acceptable"] == 1
        assert replayed(lake, reason="bad_kafka_time", fix="retime seconds")["accepted"] == 1
        assert replayed(lake, reason="bad_kafka_time", fix="retime arrival")["accepted"] == 3
        assert replayed(lake, reason="timestamp_in_future", fix="retime arrival")["accepted"] == 1
        assert replayed(lake, reason="wrong_key", fix="rekey")["accepted"] == 2
    finally:
        spark.stop()
    found = shop.ask("select count(*) as n, min(kafka_timestamp) as sent from silver.events where user_id = 'timed'")
    assert found[0]["n"] == 8 and found[0]["sent"] > datetime.now(UTC) - timedelta(hours=2)
    assert shop.ask("select count(*) as n from silver.quarantine where status = 'open'") == [{"n": 0}]
