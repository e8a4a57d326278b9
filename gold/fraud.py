"""gold.fraud_flags: what the rules of `gold/fraud_rules.py` find, one flag per episode.

How it works, and why so: docs/decisions/fraud-episodes.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import and_, or_
from string import Formatter

from pyspark.sql import Column, DataFrame, SparkSession, Window, WindowSpec
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DateType,
    DoubleType,
    IntegerType,
    StringType,
    StructType,
    TimestampType,
)

from gold.fraud_measures import HISTORY_FIELDS, MEASURES, READS, considered, is_declined, is_evaluable, span_seconds
from gold.fraud_rules import CONTEXT, ENTITY_COLUMNS, RULES, SEVERITY_FLOORS, Condition, Rule, Watch
from lakehouse.hours import micros
from lakehouse.table import KEEP_HOURS, Table, column

TABLE = Table(
    layer="gold",
    name="fraud_flags",
    grain="one raised flag: one episode of one entity under one rule",
    schema=StructType(
        [
            column("flag_id", StringType(), "Stable: hash of rule, version, entity and the first crossing's event_id"),
            column("user_id", StringType(), "The user of the event at which the flag was raised"),
            column("rule_id", StringType(), "The rule"),
            column("rule_version", IntegerType(), "Version of the rule"),
            column("score", DoubleType(), "0 to 1: severity, how far and how fast the threshold was passed"),
            column("severity", StringType(), "low, medium or high"),
            column("reason", StringType(), "What was seen, in words and numbers"),
            column("entity_type", StringType(), "user, device, ip or card"),
            column("entity", StringType(), "The user, device, address or card that is flagged"),
            column("window_start", TimestampType(), "Time of the first event of the evidence, UTC"),
            column("window_end", TimestampType(), "Time of the last event of the evidence, UTC"),
            column("evidence", ArrayType(StringType()), "event_ids that prove the flag, in order of time"),
            column("event_time", TimestampType(), "Time of the event at which the flag was raised, UTC"),
            column("detected_at", TimestampType(), "When the flag was written, UTC"),
            column("event_date", DateType(), "Day of event_time, UTC"),
        ]
    ),
    keys=("flag_id",),
    writer="delta-rs",
    partition_by=("event_date",),
    statistics=("event_time", "detected_at"),
    fed="live",
    rows="replaced",
    keep_hours=KEEP_HOURS,
    newest="detected_at",
    reads=READS,
)

CHUNK = timedelta(hours=4)
"""A long range is judged in chunks of this length, each with its own CONTEXT before it, so that a backfill
of months, too, sorts out entities without a busy time."""

MOST_EVENTS = max(rule.most_events for rule in RULES)
"""Bounds the work and the evidence per event, also behind the largest address."""

MICROSECOND = timedelta(microseconds=1)
DECIMALS = {"mean_gap": 1, "gap_variation": 2}
UNTOLD = "?"
"""The text of a reason where a measure has no value."""
SUBJECT = ("chunk", "entity_type", "entity")


@dataclass(frozen=True)
class _Look:
    """A rule's watch on one kind of entity; numbers count in the order of RULES and their watches."""

    number: int
    rule_number: int
    rule: Rule
    watch: Watch


LOOKS = tuple(
    _Look(number, rule_number, rule, watch)
    for number, (rule_number, rule, watch) in enumerate(
        (rule_number, rule, watch) for rule_number, rule in enumerate(RULES) for watch in rule.watches
    )
)


def flags(events: DataFrame, emit_from: datetime, emit_to: datetime, detected_at: datetime) -> DataFrame:
    """Rows of TABLE: the flags whose first crossing lies in [emit_from, emit_to).

    `events` has the columns of silver.events and covers at least [emit_from - CONTEXT, emit_to). The result
    depends on the set of these events only, so that live batches, late data and backfill agree.
    """
    chunks = _chunks(events.sparkSession, emit_from, emit_to, detected_at)
    subjects = _subjects(events, chunks)
    watched = _watched(subjects, _candidates(subjects))
    return _described(_first_crossings(_crossings(watched)))


def _chunks(spark: SparkSession, emit_from: datetime, emit_to: datetime, detected_at: datetime) -> DataFrame:
    """One row per chunk: it emits flags from `chunk` until before `chunk_end`, in microseconds."""
    start, end, length = micros(emit_from), micros(emit_to), CHUNK // MICROSECOND
    chunk = F.col("id") * length + start
    return spark.range(-((start - end) // length), numPartitions=1).select(
        chunk.alias("chunk"),
        F.least(chunk + length, F.lit(end)).alias("chunk_end"),
        F.lit(micros(detected_at)).alias("detected_at"),
    )


def _subjects(events: DataFrame, chunks: DataFrame) -> DataFrame:
    """Every event once per entity it may say something about, and once per chunk that needs it."""
    recent = events.withColumn("at", F.unix_micros("event_time")).join(
        F.broadcast(chunks),
        on=(F.col("at") >= F.col("chunk") - CONTEXT // MICROSECOND) & (F.col("at") < F.col("chunk_end")),
        how="inner",
    )
    entities = [
        F.struct(F.lit(entity).alias("entity_type"), F.col(name).alias("entity"))
        for entity, name in ENTITY_COLUMNS.items()
    ]
    of_purchase, of_others = F.array(*entities), F.array(entities[0])
    return recent.select(F.inline(F.when(considered("purchases"), of_purchase).otherwise(of_others)), *_facts()).where(
        F.col("entity").isNotNull()
    )


def _facts() -> list[Column | str]:
    """The columns of an event that the rules use; each condition is evaluated once."""
    kinds: list[Column | str] = [considered(kind).alias(kind) for kind in ("views", "purchases", "paid_purchases")]
    fields: list[Column | str] = ["event_id", "user_id", "device_id", "ip", "country", "order_id", "card_fingerprint"]
    return [
        "chunk",
        "detected_at",
        "at",
        *fields,
        is_declined().alias("is_declined"),
        F.lit(True).alias("events"),
        *kinds,
    ]


def _candidates(subjects: DataFrame) -> DataFrame:
    """The entities that could cross, with the looks under which they could: a cheap necessary condition."""
    aggregates: dict[str, Column] = {"last_at": F.max("at")}
    possible = [F.when(_may_cross(look, aggregates), F.lit(look.number)) for look in LOOKS]
    is_active = F.col("last_at") >= F.col("chunk")
    return (
        subjects.groupBy(*SUBJECT)
        .agg(*(aggregate.alias(name) for name, aggregate in aggregates.items()))
        .where(is_active)
        .select(*SUBJECT, _once(F.array_compact(F.array(*possible))).alias("looks"))
        .where(F.size("looks") > 0)
    )


def _may_cross(look: _Look, aggregates: dict[str, Column]) -> Column:
    """True if an entity's aggregates allow a crossing; adds the aggregates that the condition needs."""
    alternatives = (
        reduce(and_, (_may_hold(look.rule, condition, aggregates) for condition in conditions))
        for conditions in look.watch.any_of
    )
    return (F.col("entity_type") == look.watch.entity) & reduce(or_, alternatives)


def _may_hold(rule: Rule, condition: Condition, aggregates: dict[str, Column]) -> Column:
    measure = MEASURES[condition.measure]
    may_hold = F.lit(True)
    if condition.at_least is None:
        return may_hold
    is_considered = F.col(rule.considers) & _is_recent(rule)
    if measure.counts_events:
        count = f"{rule.rule_id}_events"
        aggregates[count] = F.count_if(is_considered)
        may_hold = may_hold & (F.col(count) >= condition.at_least)
    if measure.differs_in and condition.at_least > 1:
        value = F.when(is_considered & F.col(measure.differs_in).isNotNull(), F.xxhash64(measure.differs_in))
        least, greatest = f"{rule.rule_id}_least_{measure.differs_in}", f"{rule.rule_id}_greatest_{measure.differs_in}"
        aggregates[least], aggregates[greatest] = F.min(value), F.max(value)
        may_hold = may_hold & (F.col(least) != F.col(greatest))
    return may_hold


def _is_recent(rule: Rule) -> Column:
    """True for an event that can still matter to a flag of its chunk."""
    return F.col("at") >= F.col("chunk") - rule.context // MICROSECOND


def _watched(subjects: DataFrame, candidates: DataFrame) -> DataFrame:
    """The candidates' events, once per look that considers them."""
    rule_numbers = F.lit([look.rule_number for look in LOOKS])
    is_judged = [F.col(rule.considers) & _is_recent(rule) & is_evaluable(rule) for rule in RULES]
    return (
        subjects.join(F.broadcast(candidates), on=list(SUBJECT), how="inner")
        .select(
            *SUBJECT,
            "detected_at",
            F.explode("looks").alias("look"),
            *HISTORY_FIELDS,
            F.array(*is_judged).alias("is_judged"),
        )
        .withColumn("rule", rule_numbers[F.col("look")])
        .where(F.col("is_judged")[F.col("rule")])
    )


def _of_rule(values: Sequence[int] | Sequence[float] | Sequence[str]) -> Column:
    """The value of the row's rule, from one value per rule."""
    return F.lit(list(values))[F.col("rule")]


def _crossings(watched: DataFrame) -> DataFrame:
    """The events at which an alternative of the look holds, with history, measures and the excess."""
    last_events = F.collect_list(F.struct(*HISTORY_FIELDS)).over(_in_order().rowsBetween(1 - MOST_EVENTS, 0))
    event = (*SUBJECT, "detected_at", "rule", "look", "event_id", "user_id", "at")
    return (
        watched.select(*event, last_events.alias("last_events"))
        .select(*event, _once(_history()).alias("history"))
        .select(*event, "history", _once(_measures()).alias("measures"))
        .select(*event, "history", "measures", _once(_excess()).alias("excess"))
        .where(F.col("excess").isNotNull())
    )


def _in_order() -> WindowSpec:
    return Window.partitionBy("chunk", "look", "entity").orderBy("at", "event_id")


def _once(value: Column) -> Column:
    """The value, computed once: the optimizer would copy it into every expression that uses it."""
    return F.explode(F.array(value))


def _history() -> Column:
    """The last events within the rule's window, as many as the rule looks at."""
    begin = F.col("at") - _of_rule([rule.window // MICROSECOND for rule in RULES])
    most = _of_rule([rule.most_events for rule in RULES])
    in_window = F.filter("last_events", lambda event: event["at"] > begin)
    return F.slice(in_window, F.greatest(F.size(in_window) - most + 1, F.lit(1)), most)


def _measures() -> Column:
    """Every measure, by name; null where no condition or reason of the row's rule names it."""
    return F.struct(
        *(
            F.when(F.col("rule").isin(_users_of(name)), measure.of(F.col("history"))).alias(name)
            for name, measure in MEASURES.items()
        )
    )


def _users_of(measure: str) -> list[int]:
    """The numbers of the rules that use a measure."""
    return [
        look.rule_number
        for look in LOOKS
        if f"{{{measure}}}" in look.rule.reason
        or any(condition.measure == measure for conditions in look.watch.any_of for condition in conditions)
    ]


def _excess() -> Column:
    """How many times its threshold the leading measure of an alternative is; null when none holds."""
    return F.coalesce(
        *(
            F.when(
                (F.col("look") == look.number) & reduce(and_, map(_holds, conditions)),
                F.col(f"measures.{conditions[0].measure}") / F.lit(conditions[0].at_least),
            )
            for look in LOOKS
            for conditions in look.watch.any_of
        )
    )


def _holds(condition: Condition) -> Column:
    value = F.col(f"measures.{condition.measure}")
    return value <= F.lit(condition.at_most) if condition.at_least is None else value >= F.lit(condition.at_least)


def _first_crossings(crossings: DataFrame) -> DataFrame:
    """The crossing that begins an episode, unless a more specific entity of the rule crosses there as well."""
    cooldown = _of_rule([rule.cooldown // MICROSECOND for rule in RULES])
    previous = F.lag("at").over(_in_order())
    same_event = Window.partitionBy("chunk", "rule", "event_id")
    begins_episode = previous.isNull() | (previous < F.col("at") - cooldown)
    is_most_specific = F.col("look") == F.min("look").over(same_event)
    return (
        crossings.withColumn("begins_episode", begins_episode)
        .withColumn("is_most_specific", is_most_specific)
        .where(F.col("begins_episode") & F.col("is_most_specific") & (F.col("at") >= F.col("chunk")))
    )


def _described(crossings: DataFrame) -> DataFrame:
    """Rows of TABLE from first crossings."""
    rule_id = _of_rule([rule.rule_id for rule in RULES])
    version = _of_rule([rule.version for rule in RULES])
    event_time = F.timestamp_micros("at")
    identity = F.concat_ws("\n", rule_id, version.cast("string"), "entity_type", "entity", "event_id")
    return crossings.select(
        F.sha2(identity, 256).alias("flag_id"),
        "user_id",
        rule_id.alias("rule_id"),
        version.alias("rule_version"),
        _score().alias("score"),
        _of_rule([rule.severity for rule in RULES]).alias("severity"),
        _reason().alias("reason"),
        "entity_type",
        "entity",
        F.timestamp_micros(F.col("history")[0]["at"]).alias("window_start"),
        event_time.alias("window_end"),
        F.col("history")["event_id"].alias("evidence"),
        event_time.alias("event_time"),
        F.timestamp_micros("detected_at").alias("detected_at"),
        F.to_date(event_time).alias("event_date"),
    )


def _score() -> Column:
    """At least the severity's floor, and the nearer to 1 the further and faster the threshold was passed."""
    floor = _of_rule([SEVERITY_FLOORS[rule.severity] for rule in RULES])
    window = _of_rule([rule.window.total_seconds() for rule in RULES])
    haste = window / F.greatest(span_seconds(F.col("history")), F.lit(1.0))
    return F.round(1 - (1 - floor) / (F.col("excess") * haste), 3)


def _reason() -> Column:
    """The rule's sentence with its measures filled in."""
    return F.coalesce(*(F.when(F.col("rule") == number, _sentence(rule.reason)) for number, rule in enumerate(RULES)))


def _sentence(template: str) -> Column:
    parts = []
    for text, name, _, _ in Formatter().parse(template):
        parts.append(F.lit(text))
        if name:
            # Without the coalesce one missing value would make the sentence null, and withhold its flag.
            parts.append(F.coalesce(_worded(name), F.lit(UNTOLD)))
    return F.concat(*parts)


def _worded(name: str) -> Column:
    if name == "entity_type":
        return F.col("entity_type")
    if name == "span":
        return F.concat(F.format_number(span_seconds(F.col("history")) / 60, 1), F.lit(" minutes"))
    if name == "country":
        return F.element_at("history", -1)["country"]
    if name == "previous_country":
        return F.col("history")[0]["country"]
    return F.format_number(F.col(f"measures.{name}"), DECIMALS.get(name, 0))
