"""The fraud rules on shops that no threshold was chosen on: the flags are right, and the episodes are found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from benchmarks.fraud_quality import evaluate, silver_of
from gold.fraud_rules import RULES
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.shop import DAY_MS

pytestmark = pytest.mark.spark
END = datetime(2026, 5, 20, tzinfo=UTC)


@pytest.mark.parametrize("seed", [90_211, pytest.param(90_212, marks=pytest.mark.nightly)])
def test_precision_and_recall_of_every_scenario(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    events, truth = tmp_path / "events.jsonl", tmp_path / "truth.jsonl"
    options = SimulationOptions(
        now_ms=int(END.timestamp() * 1000), seed=seed, history_ms=2 * DAY_MS, history_events=40_000, fraud=0.12,
        malformed=0.0, truth=truth,
    )  # fmt: skip
    events.write_bytes(b"".join((record.value or b"") + b"\n" for record in simulate(options)))
    scores = evaluate(silver_of(spark, events), [json.loads(line) for line in truth.read_text().splitlines()])
    assert set(scores) == {rule.rule_id for rule in RULES}
    for scenario, score in scores.items():
        assert score.episodes >= 5, (scenario, score)
        assert score.precision >= 0.9 and score.recall >= 0.7, (scenario, score)
