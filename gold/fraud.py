"""gold.fraud_flags: what the rules of `gold/fraud_rules.py` find, one flag per episode.

How it works, and why so: docs/decisions/fraud-episodes.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import and_, or_
from string import Formatter

from pyspark.sql import Column, DataFrame, Window
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

from gold.clock import micros, moment_column
from gold.fraud_measures import (
    HISTORY_FIELDS,
    MEASURES,
    considered,
    distance_km,
    is_declined,
    place,
    span_seconds,
)
from gold.fraud_rules import CONTEXT, ENTITY_COLUMNS, RULES, SEVERITY_FLOORS, Condition, Entity, Rule, Watch
from lakehouse.table import Table, column

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
    partition_by=("event_date",),
    statistics=("event_time", "detected_at"),
)

CHUNK = timedelta(hours=4)
"""A long range is judged in chunks of this length, each with its own CONTEXT before it, so that entities
without a busy time are sorted out in a backfill of months as they are in a live batch."""

MOST_EVENTS = max(rule.most_events for rule in RULES)
"""Bounds the work and the evidence per event, also behind the largest address."""


@dataclass(frozen=True)
class _Look:
    """A rule's watch on one kind of entity; `number` orders them as RULES does."""

    number: int
    rule: Rule
    watch: Watch


LOOKS = tuple(
    _Look(number, rule, watch)
    for number, (rule, watch) in enumerate((rule, watch) for rule in RULES for watch in rule.watches)
)


def flags(events: DataFrame, emit_from: datetime, emit_to: datetime, detected_at: datetime) -> DataFrame:
    """Rows of TABLE: the flags whose first crossing lies in [emit_from, emit_to).

    `events` has the columns of silver.events and covers at least [emit_from - CONTEXT, emit_to). The result
    depends on the set of these events only, so that live batches, late data and backfill agree.
    """
    subjects = _subjects(events, emit_from, emit_to)
    watched = _watched(subjects, _candidates(subjects))
    return _described(_first_crossings(_crossings(watched)), detected_at)


def _subjects(events: DataFrame, emit_from: datetime, emit_to: datetime) -> DataFrame:
    """Every event once per entity that a rule looks at, and once per chunk that needs it."""
    is_in_range = (F.col("event_time") >= moment_column(emit_from - CONTEXT)) & (
        F.col("event_time") < moment_column(emit_to)
    )
    recent = _in_chunks(events.where(is_in_range), emit_from, emit_to)
    return reduce(DataFrame.unionByName, [_subjects_of(recent, entity) for entity in ENTITY_COLUMNS])


def _in_chunks(events: DataFrame, emit_from: datetime, emit_to: datetime) -> DataFrame:
    """Adds `chunk_start`: the first moment for which the chunk that the event belongs to emits flags."""
    if emit_to - emit_from <= CHUNK:
        return events.withColumn("chunk_start", moment_column(emit_from))
    start, length, context = micros(emit_from), CHUNK // timedelta(microseconds=1), CONTEXT // timedelta(microseconds=1)
    since = F.unix_micros("event_time") - start
    last_chunk = F.lit((micros(emit_to) - 1 - start) // length)
    own = F.greatest(F.floor(since / length), F.lit(0))
    latest = F.least(F.floor((since + context) / length), last_chunk)
    chunk = F.explode(F.sequence(own, latest))
    return events.withColumn("chunk", chunk).withColumn(
        "chunk_start", F.timestamp_micros(F.lit(start) + F.col("chunk") * length)
    )


def _subjects_of(events: DataFrame, entity: Entity) -> DataFrame:
    """The events at which some rule looks for this kind of entity."""
    kinds = {look.rule.considers for look in LOOKS if look.watch.entity == entity}
    has_entity = F.col(ENTITY_COLUMNS[entity]).isNotNull()
    return events.where(has_entity & reduce(or_, map(considered, sorted(kinds)))).select(
        "chunk_start",
        F.lit(entity).alias("entity_type"),
        F.col(ENTITY_COLUMNS[entity]).alias("entity"),
        "event_time",
        "event_id",
        "event_type",
        "user_id",
        "device_id",
        "country",
        "product_id",
        "payment_status",
        "card_fingerprint",
    )


def _candidates(subjects: DataFrame) -> DataFrame:
    """The entities that could cross, with the looks under which they could: a cheap necessary condition."""
    aggregates: dict[str, Column] = {"last_time": F.max("event_time")}
    possible = [F.when(_may_cross(look, aggregates), F.lit(look.number)) for look in LOOKS]
    is_active = F.col("last_time") >= F.col("chunk_start")
    return (
        subjects.groupBy("chunk_start", "entity_type", "entity")
        .agg(*(aggregate.alias(name) for name, aggregate in aggregates.items()))
        .where(is_active)
        .select("chunk_start", "entity_type", "entity", F.array_compact(F.array(*possible)).alias("looks"))
        .where(F.size("looks") > 0)
    )


def _may_cross(look: _Look, aggregates: dict[str, Column]) -> Column:
    """Whether an entity's aggregates allow a crossing; adds the aggregates that this takes."""
    alternatives = (
        reduce(and_, (_may_hold(look.rule, condition, aggregates) for condition in conditions))
        for conditions in look.watch.any_of
    )
    return (F.col("entity_type") == look.watch.entity) & reduce(or_, alternatives)


def _may_hold(rule: Rule, condition: Condition, aggregates: dict[str, Column]) -> Column:
    measure = MEASURES[condition.measure]
    if condition.at_least is None:
        return F.lit(True)
    name = f"{rule.rule_id} events"
    is_considered = considered(rule.considers) & _is_recent(rule)
    may_hold = F.lit(True)
    if measure.counts_events:
        aggregates[name] = F.count_if(is_considered)
        may_hold = may_hold & (F.col(name) >= condition.at_least)
    if measure.differs_in and condition.at_least > 1:
        value = F.when(is_considered & F.col(measure.differs_in).isNotNull(), F.xxhash64(measure.differs_in))
        least, greatest = f"{rule.rule_id} least {measure.differs_in}", f"{rule.rule_id} greatest {measure.differs_in}"
        aggregates[least], aggregates[greatest] = F.min(value), F.max(value)
        may_hold = may_hold & (F.col(least) != F.col(greatest))
    return may_hold


def _is_recent(rule: Rule) -> Column:
    """Whether the event can still matter to a flag of its chunk."""
    return F.col("event_time") >= F.col("chunk_start") - F.lit(rule.context)


def _watched(subjects: DataFrame, candidates: DataFrame) -> DataFrame:
    """The candidates' events, once per look that considers them."""
    per_look = subjects.join(
        F.broadcast(candidates), on=["chunk_start", "entity_type", "entity"], how="inner"
    ).withColumn("look", F.explode("looks"))
    is_considered = reduce(
        or_,
        (_is_look_of(rule) & considered(rule.considers) & _is_recent(rule) for rule in RULES),
    )
    return per_look.where(is_considered)


def _is_look_of(rule: Rule) -> Column:
    return F.col("look").isin([look.number for look in LOOKS if look.rule == rule])


def _by_rule(values: dict[Rule, Column]) -> Column:
    """The value of the row's rule."""
    return F.coalesce(*(F.when(_is_look_of(rule), value) for rule, value in values.items()))


def _crossings(watched: DataFrame) -> DataFrame:
    """The events at which an alternative of the look holds, with their history and the excess."""
    in_order = Window.partitionBy("chunk_start", "look", "entity").orderBy("event_time", "event_id")
    gap = (F.unix_micros("event_time") - F.unix_micros(F.lag("event_time").over(in_order))) / 1e6
    with_steps = watched.select(
        "chunk_start",
        "look",
        "entity_type",
        "entity",
        *HISTORY_FIELDS[:-3],
        is_declined().alias("is_declined"),
        gap.alias("gap_seconds"),
        distance_km(F.lag(place("country")).over(in_order), place("country")).alias("step_km"),
    )
    last_events = F.collect_list(F.struct(*HISTORY_FIELDS)).over(in_order.rowsBetween(1 - MOST_EVENTS, 0))
    return (
        with_steps.withColumn("last_events", last_events)
        .withColumn("history", _once(_history()))
        .withColumn("excess", _once(_excess()))
        .where(F.col("excess").isNotNull())
    )


def _once(value: Column) -> Column:
    """The value, computed once: the optimizer would copy it into every expression that uses it."""
    return F.explode(F.array(value))


def _history() -> Column:
    """The last events within the rule's window, as many as the rule looks at."""
    begin = F.col("event_time") - _by_rule({rule: F.lit(rule.window) for rule in RULES})
    most = _by_rule({rule: F.lit(rule.most_events) for rule in RULES})
    in_window = F.filter("last_events", lambda event: event["event_time"] > begin)
    return F.slice(in_window, -F.least(most, F.size(in_window)), most)


def _excess() -> Column:
    """How many times its threshold the leading measure of an alternative is; null when none holds."""
    history = F.col("history")
    return F.coalesce(
        *(
            F.when((F.col("look") == look.number) & _holds(conditions, history), _ratio(conditions[0], history))
            for look in LOOKS
            for conditions in look.watch.any_of
        )
    )


def _holds(conditions: tuple[Condition, ...], history: Column) -> Column:
    checks = []
    for condition in conditions:
        value = MEASURES[condition.measure].of(history)
        if condition.at_least is not None:
            checks.append(value >= condition.at_least)
        if condition.at_most is not None:
            checks.append(value <= condition.at_most)
    return reduce(and_, checks)


def _ratio(condition: Condition, history: Column) -> Column:
    return MEASURES[condition.measure].of(history) / F.lit(condition.at_least)


def _first_crossings(crossings: DataFrame) -> DataFrame:
    """The crossing that begins an episode, unless a more specific entity of the rule crosses there as well."""
    in_order = Window.partitionBy("chunk_start", "look", "entity").orderBy("event_time", "event_id")
    cooldown = _by_rule({rule: F.lit(rule.cooldown) for rule in RULES})
    previous = F.lag("event_time").over(in_order)
    begins_episode = previous.isNull() | (previous < F.col("event_time") - cooldown)
    rule_number = _by_rule({rule: F.lit(number) for number, rule in enumerate(RULES)})
    is_most_specific = F.col("look") == F.min("look").over(Window.partitionBy("chunk_start", "rule_number", "event_id"))
    is_in_chunk = (F.col("event_time") >= F.col("chunk_start")) & (
        F.col("event_time") < F.col("chunk_start") + F.lit(CHUNK)
    )
    return (
        crossings.withColumn("begins_episode", begins_episode)
        .withColumn("rule_number", rule_number)
        .withColumn("is_most_specific", is_most_specific)
        .where(F.col("begins_episode") & F.col("is_most_specific") & is_in_chunk)
    )


def _described(crossings: DataFrame, detected_at: datetime) -> DataFrame:
    """Rows of TABLE from first crossings."""
    rule_id = _by_rule({rule: F.lit(rule.rule_id) for rule in RULES})
    version = _by_rule({rule: F.lit(rule.version) for rule in RULES})
    identity = F.concat_ws("\n", rule_id, version.cast("string"), "entity_type", "entity", "event_id")
    return crossings.select(
        F.sha2(identity, 256).alias("flag_id"),
        "user_id",
        rule_id.alias("rule_id"),
        version.alias("rule_version"),
        _score().alias("score"),
        _by_rule({rule: F.lit(rule.severity) for rule in RULES}).alias("severity"),
        _by_rule({rule: _reason(rule) for rule in RULES}).alias("reason"),
        "entity_type",
        "entity",
        F.col("history")[0]["event_time"].alias("window_start"),
        F.col("event_time").alias("window_end"),
        F.col("history")["event_id"].alias("evidence"),
        "event_time",
        moment_column(detected_at).alias("detected_at"),
        F.to_date("event_time").alias("event_date"),
    )


def _score() -> Column:
    """Severity's floor, and above it the nearer to 1 the further and the faster the threshold was passed."""
    floor = _by_rule({rule: F.lit(SEVERITY_FLOORS[rule.severity]) for rule in RULES})
    window = _by_rule({rule: F.lit(rule.window.total_seconds()) for rule in RULES})
    haste = window / F.greatest(span_seconds(F.col("history")), F.lit(1.0))
    return F.round(1 - (1 - floor) / (F.col("excess") * haste), 3)


def _reason(rule: Rule) -> Column:
    """The rule's sentence with its measures filled in."""
    parts = []
    for text, name, _, _ in Formatter().parse(rule.reason):
        parts.append(F.lit(text))
        if name:
            parts.append(_worded(name))
    return F.concat(*parts)


def _worded(name: str) -> Column:
    history = F.col("history")
    if name in ("entity", "entity_type"):
        return F.col(name)
    if name == "span":
        seconds = span_seconds(history)
        minutes = F.format_string("%.1f minutes", seconds / 60)
        return F.when(seconds < 120, F.format_string("%.0f seconds", seconds)).otherwise(minutes)
    if name in ("mean_gap", "gap_variation"):
        return F.format_string("%.2f", MEASURES[name].of(history))
    if name == "distance":
        return F.format_string("%.0f", MEASURES[name].of(history))
    return MEASURES[name].of(history).cast("string")
