"""Precision and recall of the fraud rules on simulated shops whose truth is known.

Example: `python benchmarks/fraud_quality.py --seeds 11 12 13`.

A flag is right when it names an entity of a fraud episode of its rule's scenario, within the episode's time.
An episode is found when at least one flag of its scenario is right about it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from gold import fraud_live
from gold.fraud_rules import CONTEXT, RULES
from lakehouse.hours import micros
from producer.record import to_line
from producer.simulator import SimulationOptions, simulate

DAY_MS = 86_400_000
END = datetime(2026, 3, 10, tzinfo=UTC)
_EVENTS = """
CREATE TABLE fraud_events AS
SELECT epoch_us("timestamp") AS "at", event_id, event_type, user_id, context.*, data.*, hash(user_id) AS u
FROM read_json($path, format = 'newline_delimited', columns = {
    event_id: 'VARCHAR', event_type: 'VARCHAR', user_id: 'VARCHAR', timestamp: 'TIMESTAMPTZ',
    context: 'STRUCT(device_id VARCHAR, ip VARCHAR, country VARCHAR)',
    data: 'STRUCT(product_id VARCHAR, order_id VARCHAR, payment_status VARCHAR, card_fingerprint VARCHAR)'})
WHERE event_id IS NOT NULL QUALIFY row_number() OVER (PARTITION BY event_id) = 1
"""
"""The valid events of a file, with the columns that the rules use; records that are no plain event have no id here."""
GRACE = timedelta(seconds=1)
"""Truth and events may round times differently."""


@dataclass
class Score:
    """The figures of one scenario."""

    episodes: int = 0
    found: int = 0
    flags: int = 0
    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Score) -> Score:
        """Both together."""
        return Score(
            self.episodes + other.episodes,
            self.found + other.found,
            self.flags + other.flags,
            self.right + other.right,
            self.wrong + other.wrong,
        )

    @property
    def precision(self) -> float:
        """Right flags over flags."""
        return self.right / self.flags if self.flags else float("nan")

    @property
    def recall(self) -> float:
        """Found episodes over episodes."""
        return self.found / self.episodes if self.episodes else float("nan")


def main() -> None:
    """Evaluate every seed, and print a table each and one over all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[11, 12, 13], help="seeds of simulated shops")
    total = {rule.rule_id: Score() for rule in RULES}
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            scores = scores_of(Path(folder), seed, END)
        _print(f"seed {seed}", scores)
        total = {rule: score + scores[rule] for rule, score in total.items()}
    _print("all", total)


def scores_of(folder: Path, seed: int, end: datetime, **shares: float) -> dict[str, Score]:
    """The scores of the rules on three days of a shop."""
    events, truth = folder / f"{seed}-events.jsonl", folder / f"{seed}-truth.jsonl"
    now_ms = int(end.timestamp() * 1000)
    given: dict[str, Any] = {"fraud": 0.06, "truth": truth, **shares}
    options = SimulationOptions(now_ms=now_ms, seed=seed, history_ms=3 * DAY_MS, history_events=150_000, **given)
    events.write_bytes(b"".join(to_line(record) + b"\n" for record in simulate(options)))
    return evaluate(events, [json.loads(line) for line in truth.read_text().splitlines()])


def evaluate(events: Path, truth: list[dict[str, Any]]) -> dict[str, Score]:
    """The score of each rule on a file of events, by the lines of the truth file."""
    first, last = (_moment(truth_time) for truth_time in (min(e["start"] for e in truth), max(e["end"] for e in truth)))
    flags = _flags(events, micros(first - CONTEXT), micros(last + CONTEXT))
    episodes = [episode for episode in truth if not episode["innocent"]]
    scores = {rule.rule_id: Score() for rule in RULES}
    for scenario, score in scores.items():
        of_scenario = [episode for episode in episodes if episode["scenario"] == scenario]
        raised = [flag for flag in flags if flag["rule_id"] == scenario]
        score.episodes, score.flags = len(of_scenario), len(raised)
        score.found = sum(any(_names(flag, episode) for flag in raised) for episode in of_scenario)
        for flag in raised:
            if any(_names(flag, episode) for episode in of_scenario):
                score.right += 1
            else:
                score.wrong[next((e["scenario"] for e in truth if _names(flag, e)), "ordinary shoppers")] += 1
    return scores


def _flags(events: Path, begin: int, end: int) -> list[dict[str, Any]]:
    """The flags that the stream would raise."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(fraud_live.TABLES)
        connection.execute(_EVENTS, {"path": str(events)})
        fraud_live.note(connection, "fraud_events")
        return list(fraud_live.flags(connection, "fraud_events", begin, end, datetime.now(UTC)).to_pylist())


def _names(flag: Any, episode: dict[str, Any]) -> bool:
    """Whether a flag names an entity of the episode within its time."""
    moment = flag["event_time"]
    in_time = _moment(episode["start"]) - GRACE <= moment <= _moment(episode["end"]) + GRACE
    return in_time and flag["entity"] in episode[f"{flag['entity_type']}s"]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _print(name: str, scores: dict[str, Score]) -> None:
    print(f"\n{name:<20}{'episodes':>9}{'found':>7}{'recall':>8}{'flags':>7}{'right':>7}{'precision':>11}  wrong about")
    for scenario, score in scores.items():
        wrong = ", ".join(f"{count} {what}" for what, count in score.wrong.most_common())
        print(
            f"{scenario:<20}{score.episodes:>9}{score.found:>7}{score.recall:>8.2f}"
            f"{score.flags:>7}{score.right:>7}{score.precision:>11.2f}  {wrong}",
            flush=True,
        )


if __name__ == "__main__":
    main()
