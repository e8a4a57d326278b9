"""gold.fraud_flags and gold.fraud_coverage: flags that can be proved, by rules that exist."""

from __future__ import annotations

from gold.fraud_rules import RULES
from quality.declaration import Suite, none, one_of

FLAGS, COVERAGE = "gold.fraud_flags", "gold.fraud_coverage"
_RULES = tuple(sorted(rule.rule_id for rule in RULES))

SUITES = (
    Suite(
        FLAGS,
        f"""
        SELECT count(*) - count(DISTINCT flag_id) AS repeated,
            count(*) FILTER (flag_id IS NULL OR user_id IS NULL OR entity IS NULL OR reason IS NULL) AS incomplete,
            count(*) FILTER (score IS NULL OR NOT score BETWEEN 0 AND 1) AS impossible_scores,
            count(*) FILTER (len(evidence) = 0 OR evidence IS NULL) AS unproved,
            count(*) FILTER (window_start > window_end OR event_time NOT BETWEEN window_start AND window_end)
                AS odd_windows,
            count(*) FILTER (detected_at < event_time - INTERVAL 1 HOUR) AS foreseen
        FROM {FLAGS} WHERE {{days}}
        """,  # noqa: S608 - the names are declared in this project
        (
            none("each_flag_once", "repeated", "A flag has one row."),
            none("is_complete", "incomplete", "Id, user, entity and reason are there."),
            none("scores_are_possible", "impossible_scores", "The score is within 0 and 1."),
            none("has_evidence", "unproved", "A flag names the events that prove it."),
            none("windows_are_in_order", "odd_windows", "The flag was raised within its window."),
            none("is_not_foreseen", "foreseen", "No flag is older than its event.", "warn"),
        ),
        day_column="event_date",
    ),
    Suite(
        FLAGS,
        f"""
        WITH proofs AS (
            SELECT DISTINCT unnest(evidence) AS event_id FROM {FLAGS} WHERE {{days}})
        SELECT count(*) AS missing FROM proofs ANTI JOIN silver.events USING (event_id)
        """,  # noqa: S608 - the names are declared in this project
        (none("evidence_is_in_silver", "missing", "Every event that proves a flag is in silver.events."),),
        day_column="event_date",
        part="evidence",
    ),
    Suite(
        FLAGS,
        f"SELECT DISTINCT rule_id, severity FROM {FLAGS} WHERE {{days}}",  # noqa: S608 - the names are declared in this project
        (
            one_of("rule_is_known", "rule_id", _RULES, "The rule is declared."),
            one_of("severity_is_known", "severity", ("low", "medium", "high"), "Low, medium or high."),
        ),
        day_column="event_date",
        part="rules",
    ),
    Suite(
        COVERAGE,
        f"""
        SELECT count(*) - count(DISTINCT (hour_start, rule_id)) AS repeated,
            count(*) FILTER (events_evaluable > events_considered OR events_evaluable < 0) AS impossible
        FROM {COVERAGE} WHERE {{days}}
        """,  # noqa: S608 - the names are declared in this project
        (
            none("each_rule_once", "repeated", "An hour has each rule once."),
            none("no_more_evaluable_than_considered", "impossible", "What can be judged was looked at."),
        ),
        day_column="hour_date",
    ),
    Suite(
        COVERAGE,
        f"SELECT DISTINCT rule_id FROM {COVERAGE} WHERE {{days}}",  # noqa: S608 - the names are declared in this project
        (one_of("rule_is_known", "rule_id", _RULES, "The rule is declared."),),
        day_column="hour_date",
        part="rules",
    ),
)
