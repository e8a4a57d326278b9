"""The fraud rules on shops that no threshold was chosen on: the flags are right, and the episodes are found."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.fraud_quality import Score, scores_of
from gold.fraud_rules import RULES

END = datetime(2026, 5, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "seeds", [(90_211, 90_212), pytest.param(tuple(range(90_213, 90_219)), marks=pytest.mark.nightly)]
)
def test_precision_and_recall_of_every_scenario(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    shops = [scores_of(tmp_path, seed, END, malformed=0.0) for seed in seeds]
    for rule in RULES:
        score = sum((shop[rule.rule_id] for shop in shops), Score())
        assert score.episodes >= 25, (rule.rule_id, score)
        assert score.precision >= 0.9 and score.recall >= 0.7, (rule.rule_id, score)
