"""docs/how-to/send-events.md: its examples are accepted."""

import json
import re
from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession

from lakehouse.services.service import PROJECT_ROOT
from producer.contract import EVENT_TYPES
from silver import checks
from tests.support.arrived import frame_of

PAGE = (PROJECT_ROOT / "docs" / "how-to" / "send-events.md").read_text(encoding="utf-8")
(LINES,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLES = [
    (topic, line)
    for topic, block in re.findall(r"^`(shop\.\w+)`:\n\n```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def test_ten_lines_send_an_event() -> None:
    """They do as they stand, and it is accepted: tests/e2e/shop/test_trace.py."""
    assert len([line for line in LINES.splitlines() if line]) == 10 and '"127.0.0.1:9092"' in LINES


@pytest.mark.spark
def test_there_is_an_accepted_example_of_each_type_on_its_topic(spark: SparkSession) -> None:
    events = [(topic, json.loads(line)) for topic, line in EXAMPLES]
    assert {(event["event_type"], topic) for topic, event in events} == {(one.name, one.topic) for one in EVENT_TYPES}
    now = datetime.now(UTC)
    sent = [(topic, now, event["user_id"].encode(), json.dumps(event).encode()) for topic, event in events]
    rows = checks.judge(frame_of(spark, sent)).collect()
    assert [(row.reason_code, row.reason_detail, row.extra) for row in rows] == [(None, None, None)] * len(events)
