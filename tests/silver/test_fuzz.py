"""Thousands of records, good, odd and broken in every known way, mixed: each gets its own answer.

The long form, 100,000 records through the whole platform: tests/e2e/test_fuzz_whole_way.py.
"""

from collections import Counter
from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession

from producer.simulator import SimulationOptions, simulate
from producer.simulator.defects import DEFECTS, HARMLESS
from silver import checks
from tests.support.arrived import frame_of
from tests.support.fuzz import REASON_OF_KIND

RECORDS = 4_000


def test_the_expectations_are_those_of_all_kinds() -> None:
    assert {kind.name: kind.reason for kind in (*DEFECTS, *HARMLESS)} == REASON_OF_KIND
    assert len(DEFECTS) >= 25


@pytest.mark.spark
def test_every_record_of_a_mixed_traffic_gets_its_answer(spark: SparkSession) -> None:
    options = SimulationOptions(
        now_ms=1_788_430_500_000, seed=77, live=True, rate=500, count=RECORDS, malformed=0.4, harmless=0.15,
        duplicates=0.02,
    )  # fmt: skip
    records = list(simulate(options))
    assert {record.defect for record in records} - {None} >= {*REASON_OF_KIND} - {"oversized", "almost_too_old"}
    sent = [(each.topic, datetime.fromtimestamp(each.due, UTC), each.key, each.value) for each in records]
    judged = checks.judge(frame_of(spark, sent)).select("offset", "reason_code").collect()
    found = {row["offset"]: row["reason_code"] for row in judged}
    assert sorted(found) == list(range(len(records))), "none is lost, none is doubled"
    wrong = Counter(
        (record.defect, found[number])
        for number, record in enumerate(records)
        if found[number] != (REASON_OF_KIND[record.defect] if record.defect else None)
    )
    assert not wrong
