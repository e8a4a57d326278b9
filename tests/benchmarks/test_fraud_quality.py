"""The fraud rules on shops that no threshold was chosen on: the flags are right, and the episodes are found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from benchmarks.fraud_quality import Score, evaluate, silver_of
from gold.fraud_rules import RULES
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support.shop import DAY_MS

pytestmark = pytest.mark.spark
END = datetime(2026, 5, 20, tzinfo=UTC)


def scores_of(spark: SparkSession, folder: Path, seed: int) -> dict[str, Score]:
    """The scores of the rules on three days of a shop."""
    events, truth = folder / f"{seed}-events.jsonl", folder / f"{seed}-truth.jsonl"
    options = SimulationOptions(
        now_ms=int(END.timestamp() * 1000), seed=seed, history_ms=3 * DAY_MS, history_events=150_000, fraud=0.06,
        malformed=0.0, truth=truth,
    )  # fmt: skip
    events.write_bytes(b"".join((record.value or b"") + b"\n" for record in simulate(options)))
    return evaluate(silver_of(spark, events), [json.loads(line) for line in truth.read_text().splitlines()])


@pytest.mark.parametrize(
    "seeds", [(90_211, 90_212), pytest.param(tuple(range(90_213, 90_219)), marks=pytest.mark.nightly)]
)
def test_precision_and_recall_of_every_scenario(spark: SparkSession, tmp_path: Path, seeds: tuple[int, ...]) -> None:
    shops = [scores_of(spark, tmp_path, seed) for seed in seeds]
    for rule in RULES:
        score = sum((shop[rule.rule_id] for shop in shops), Score())
        assert score.episodes >= 25, (rule.rule_id, score)
        assert score.precision >= 0.9 and score.recall >= 0.7, (rule.rule_id, score)
