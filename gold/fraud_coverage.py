"""gold.fraud_coverage: what the fraud rules could judge. Without it, an hour without flags would look clean."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType

from gold.fraud_measures import CIRCLE_SQL, CONSIDERED_SQL, READS, considered, is_evaluable, is_evaluable_sql
from gold.fraud_rules import RULES, Rule
from gold.hourly import hourly_table
from lakehouse.hours import hour_start
from lakehouse.table import Kept, Live, column


def _counted_sql(rule: Rule) -> str:
    considers = CONSIDERED_SQL[rule.considers]
    evaluable = f"({considers}) AND {is_evaluable_sql(rule)}"
    return (
        f"{{'rule_id': '{rule.rule_id}', 'events_considered': count_if({considers})::BIGINT,"
        f" 'events_evaluable': count_if({evaluable})::BIGINT}}"
    )


LIVE = Live(
    """
    SELECT make_timestamptz(age * 3600000000) AS hour_start, rule_id, events_considered, events_evaluable,
        CASE WHEN events_evaluable = 0 THEN 'not evaluable' WHEN events_evaluable = events_considered THEN 'evaluable'
            ELSE 'partly evaluable' END AS status
    FROM {coverage_hours}""",
    {
        "coverage_hours": Kept(
            f"SELECT hour AS age, unnest([{', '.join(map(_counted_sql, RULES))}], recursive := true)"
            f" FROM (SELECT *, {CIRCLE_SQL} AS circle FROM new_events) GROUP BY hour",
            """SELECT age, rule_id, sum(events_considered)::BIGINT AS events_considered,
                sum(events_evaluable)::BIGINT AS events_evaluable
            FROM {kept} WHERE {where} GROUP BY ALL""",
        )
    },
)
TABLE = hourly_table(
    "fraud_coverage",
    grain="one fraud rule in one clock hour in which something happened",
    columns=[
        column("rule_id", StringType(), "The rule"),
        column("events_considered", LongType(), "Events of the kind that the rule looks at"),
        column("events_evaluable", LongType(), "Those of them that carry the fields the rule needs"),
        column("status", StringType(), "evaluable: all; partly evaluable: some; not evaluable: none, or no such event"),
    ],
    keys=("rule_id",),
    reads=READS,
    rows=lambda events, _: hourly(events),
    live=LIVE,
)


def hourly(events: DataFrame) -> DataFrame:
    """One row per clock hour in `events` and rule."""
    per_rule = [
        F.struct(
            F.lit(rule.rule_id).alias("rule_id"),
            F.count_if(considered(rule.considers)).alias("events_considered"),
            F.count_if(considered(rule.considers) & is_evaluable(rule)).alias("events_evaluable"),
        )
        for rule in RULES
    ]
    return (
        events.groupBy(hour_start())
        .agg(F.array(*per_rule).alias("rules"))
        .select("hour_start", F.inline("rules"))
        .select("hour_start", "rule_id", "events_considered", "events_evaluable", _status().alias("status"))
    )


def _status() -> Column:
    has_none = F.col("events_evaluable") == 0
    has_all = F.col("events_evaluable") == F.col("events_considered")
    return F.when(has_none, "not evaluable").when(has_all, "evaluable").otherwise("partly evaluable")
