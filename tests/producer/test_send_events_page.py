"""docs/how-to/send-events.md: its lines send an event as they stand, and its examples are accepted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from kafka import KafkaConsumer
from pyspark.sql import Row, SparkSession

from lakehouse.services import kafka
from lakehouse.services.child import alone
from lakehouse.services.jars import fetch_jars
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.services.testing import free_settings
from producer.contract import EVENT_TYPES
from producer.topics import apply_topics
from silver import checks
from tests.support.arrived import frame_of

PAGE = (PROJECT_ROOT / "docs" / "how-to" / "send-events.md").read_text(encoding="utf-8")
(LINES,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLES = [
    (topic, line)
    for topic, block in re.findall(r"^`(shop\.\w+)`:\n\n```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def judged(spark: SparkSession, records: list[tuple[str, bytes, bytes]]) -> list[Row]:
    """The records' rows, as the stream would judge them now, in their order."""
    now = datetime.now(UTC)
    sent = [(topic, now, key, value) for topic, key, value in records]
    return checks.judge(frame_of(spark, sent)).orderBy("offset").collect()


def test_ten_lines_send_an_event_that_is_accepted(spark: SparkSession, tmp_path: Path) -> None:
    assert len([line for line in LINES.splitlines() if line]) == 10 and '"127.0.0.1:9092"' in LINES
    fetch_jars(("kafka",))
    settings = free_settings(tmp_path)
    with alone(kafka.service(settings), settings):
        apply_topics(settings)
        pasted = LINES.replace("127.0.0.1:9092", settings.bootstrap)
        done = subprocess.run([sys.executable, "-"], input=pasted, capture_output=True, text=True, check=True)
        consumer = KafkaConsumer(
            "shop.page_views",
            bootstrap_servers=settings.bootstrap,
            auto_offset_reset="earliest",
            consumer_timeout_ms=20_000,
        )
        with closing(consumer):
            sent = next(consumer)
    assert done.stdout == f"shoplake trace event --at shop.page_views-{sent.partition}-{sent.offset}\n"
    (row,) = judged(spark, [(sent.topic, sent.key, sent.value)])
    assert (row.reason_code, row.event_type, row.product_name, row.extra) == (None, "product_view", "My lamp", None)


def test_there_is_an_accepted_example_of_each_type_on_its_topic(spark: SparkSession) -> None:
    events = [(topic, json.loads(line)) for topic, line in EXAMPLES]
    assert {(event["event_type"], topic) for topic, event in events} == {(one.name, one.topic) for one in EVENT_TYPES}
    rows = judged(spark, [(topic, event["user_id"].encode(), json.dumps(event).encode()) for topic, event in events])
    assert [(row.reason_code, row.reason_detail, row.extra) for row in rows] == [(None, None, None)] * len(events)
