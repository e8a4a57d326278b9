"""gold.fraud_flags and gold.fraud_coverage: flags that can be proved, by rules that exist."""

from gold.fraud_rules import RULES
from quality.declaration import no_row, seen, suite
from quality.gold_kpis import HOUR

FLAGS, COVERAGE = "gold.fraud_flags", "gold.fraud_coverage"
_UNKNOWN_RULE = f"rule_id NOT IN ({', '.join(repr(rule.rule_id) for rule in RULES)})"

SUITES = (
    suite(
        FLAGS,
        seen(FLAGS, "flag_id"),
        no_row("each_flag_once", "seen > 1", "A flag has one row."),
        no_row(
            "is_complete",
            "flag_id IS NULL OR user_id IS NULL OR entity IS NULL OR reason IS NULL",
            "Id, user, entity and reason are there.",
        ),
        no_row("scores_are_possible", "score IS NULL OR NOT score BETWEEN 0 AND 1", "The score is within 0 and 1."),
        no_row("has_evidence", "len(evidence) = 0 OR evidence IS NULL", "A flag names the events that prove it."),
        no_row(
            "windows_are_in_order",
            "window_start > window_end OR event_time NOT BETWEEN window_start AND window_end",
            "The flag was raised within its window.",
        ),
        no_row(
            "is_not_foreseen", "detected_at < event_time - INTERVAL 1 HOUR", "No flag is older than its event.", "warn"
        ),
        no_row("rule_is_known", _UNKNOWN_RULE, "The rule is declared."),
        no_row("severity_is_known", "severity NOT IN ('low', 'medium', 'high')", "Low, medium or high."),
        day_column="event_date",
        unit="flag_id",
    ),
    suite(
        FLAGS,
        f"""
        SELECT flag_id FROM (SELECT flag_id, unnest(evidence) AS event_id FROM {FLAGS} WHERE {{days}})
        ANTI JOIN silver.events USING (event_id)
        """,  # noqa: S608 - the names are declared in this project
        no_row("evidence_is_in_silver", "true", "Every event that proves a flag is in silver.events."),
        day_column="event_date",
        unit="flag_id",
    ),
    suite(
        COVERAGE,
        seen(COVERAGE, "hour_start, rule_id"),
        no_row("each_rule_once", "seen > 1", "An hour has each rule once."),
        no_row(
            "no_more_evaluable_than_considered",
            "events_evaluable > events_considered OR events_evaluable < 0",
            "What can be judged was looked at.",
        ),
        no_row("rule_is_known", _UNKNOWN_RULE, "The rule is declared."),
        day_column="hour_date",
        unit=HOUR,
    ),
)
