"""gold.fraud_flags while the events come in: the rules of `gold/fraud_rules.py` as DuckDB sees them.

`flags` gives the rows that `gold.fraud.flags` gives for the same events, to the last digit. It serves the stream,
whose ranges are short and whose recent events are in a table of its own process, and takes tens of milliseconds.

It is fast because it skips most events. Their writer keeps a column `u`, the hash of user_id, and calls `note` with
every batch. `note` copies what most rules look at: purchases, and the events of the few users who are seen with many
devices or in several countries.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from string import Formatter

import duckdb
import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema

from gold.fraud import DECIMALS, MICROSECOND, TABLE, UNTOLD
from gold.fraud_measures import CIRCLE_SQL, CONSIDERED_SQL, IS_DECLINED_SQL, MEASURES, is_evaluable_sql
from gold.fraud_rules import ENTITY_COLUMNS, RULES, SEVERITY_FLOORS, Condition, Entity, Rule, Watch
from lakehouse.hours import micros

SCHEMA = to_arrow_schema(TABLE.schema, timezone="UTC")
HOUR = 3_600_000_000
KEYS: dict[Entity, str] = {"user": "u", "device": "d", "ip": "i", "card": "c"}
"""The columns with the entities' hashes, which are quicker to compare than texts. An event has `u` only."""

WORDS = {"previous_country": "first_value(country) OVER history"}
"""Fields of reasons that are no measures; `entity_type` and `country` are known anyway."""

TABLES = """
CREATE TABLE IF NOT EXISTS fraud_purchases (
    "at" BIGINT, event_id VARCHAR, event_type VARCHAR, user_id VARCHAR, device_id VARCHAR, ip VARCHAR,
    card_fingerprint VARCHAR, country VARCHAR, order_id VARCHAR, payment_status VARCHAR,
    u UBIGINT, d UBIGINT, i UBIGINT, c UBIGINT
);
CREATE TABLE IF NOT EXISTS fraud_roaming ("at" BIGINT, event_id VARCHAR, country VARCHAR, u UBIGINT, d UBIGINT);
CREATE TABLE IF NOT EXISTS fraud_seen (hour BIGINT, u UBIGINT, d UBIGINT, country VARCHAR);
"""
"""Purchases; the events of users who roam; which user was seen with which device and country in which hour."""

_NOTE = """
INSERT INTO fraud_purchases
SELECT "at", event_id, event_type, user_id, device_id, ip, card_fingerprint, country, order_id, payment_status, u,
    if(device_id IS NULL, NULL, hash(device_id)),
    if(ip IS NULL, NULL, hash(ip)),
    if(card_fingerprint IS NULL, NULL, hash(card_fingerprint))
FROM {batch} WHERE event_type = 'purchase';

CREATE OR REPLACE TEMP TABLE fraud_new_seen AS SELECT new.* FROM (
    SELECT DISTINCT "at" // {hour} AS hour, u, if(device_id IS NULL, NULL, hash(device_id)) AS d, country FROM {batch}
) AS new ANTI JOIN fraud_seen AS old ON old.hour = new.hour AND old.u = new.u
    AND old.d IS NOT DISTINCT FROM new.d AND old.country IS NOT DISTINCT FROM new.country;

INSERT INTO fraud_seen FROM fraud_new_seen;

CREATE OR REPLACE TEMP TABLE fraud_new_roamers AS
SELECT u FROM (SELECT *, d AS device_id FROM fraud_seen)
WHERE u IN (SELECT u FROM fraud_new_seen) AND u NOT IN (SELECT u FROM fraud_roaming) GROUP BY u HAVING {roams};

INSERT INTO fraud_roaming
SELECT "at", event_id, country, u, if(device_id IS NULL, NULL, hash(device_id)) FROM {batch}
WHERE u IN (SELECT u FROM fraud_roaming);

SELECT min(hour) FROM fraud_seen WHERE u IN (SELECT u FROM fraud_new_roamers)
"""
_NOTE_NEW_ROAMERS = """
INSERT INTO fraud_roaming
SELECT "at", event_id, country, u, if(device_id IS NULL, NULL, hash(device_id)) FROM {events}
WHERE "at" >= {begin} AND u IN (SELECT u FROM fraud_new_roamers)
"""

_FLAGS = """
WITH watched AS MATERIALIZED ({watched}),
counted AS (
    SELECT *,
        row_number() OVER in_order AS place,
        least(place - count(*) OVER (
            PARTITION BY watch, entity_key ORDER BY "at" RANGE BETWEEN UNBOUNDED PRECEDING AND {window} PRECEDING
        ), {most_events}) AS events,
        ("at" - lag("at") OVER in_order) / 1e6 AS gap
    FROM watched WHERE {needs} WINDOW in_order AS (PARTITION BY watch, entity_key ORDER BY "at", event_id)
),
measured AS (
    SELECT watch, entity_key, "at", event_id, place, events AS number,
        first_value("at") OVER history AS first_at,
        ("at" - first_at) / 1e6 AS span,
        {measures}
    FROM counted WINDOW history AS (
        PARTITION BY watch, entity_key ORDER BY "at", event_id ROWS BETWEEN events - 1 PRECEDING AND CURRENT ROW
    )
),
crossings AS (
    SELECT *, CASE {excess} END AS excess FROM measured WHERE "at" >= {begin} - {cooldown} AND excess IS NOT NULL
),
begun AS (
    SELECT *, [{entity_types}][watch + 1] AS entity_type FROM crossings
    QUALIFY "at" >= {begin} AND watch = min(watch) OVER (PARTITION BY event_id)
        AND coalesce("at" - lag("at") OVER (PARTITION BY watch, entity_key ORDER BY "at", event_id) > {cooldown}, true)
),
proved AS (
    SELECT *, (
        SELECT list(event_id ORDER BY place) FROM counted
        WHERE counted.watch = begun.watch AND counted.entity_key = begun.entity_key
            AND counted.place <= begun.place AND counted.place > begun.place - begun.number
    ) AS evidence FROM begun
)
SELECT
    [{entities}][watch + 1] AS entity,
    sha256(concat_ws(chr(10), '{rule_id}', '{version}', entity_type, entity, event_id)) AS flag_id,
    user_id,
    '{rule_id}' AS rule_id,
    {version} AS rule_version,
    {score} AS score,
    '{severity}' AS severity,
    {reason} AS reason,
    entity_type,
    make_timestamp("at") AS event_time,
    make_timestamp(first_at) AS window_start,
    event_time AS window_end,
    evidence,
    make_timestamp({detected_at}) AS detected_at,
    event_time::DATE AS event_date
FROM proved JOIN {texts} AS texts USING ("at", event_id) WHERE texts."at" >= {begin} AND texts."at" < {end}
"""


@dataclass(frozen=True)
class _Range:
    """The table of events, and the moments between which the wanted flags begin."""

    events: str
    begin: int
    end: int


def note(connection: duckdb.DuckDBPyConnection, batch: str, events: str = "fraud_events") -> None:
    """Take in a batch of events, each once, after adding them to `events` in the same transaction."""
    roams = " OR ".join(_possible(rule, watch) for rule, _, watch in _looks() if rule.considers == "events")
    found = connection.execute(_NOTE.format(batch=batch, hour=HOUR, roams=roams)).fetchall()
    if (first := found[0][0]) is not None:  # as a constant: DuckDB passes over the blocks before it
        connection.execute(_NOTE_NEW_ROAMERS.format(events=events, begin=first * HOUR))


def forget(connection: duckdb.DuckDBPyConnection, before: int) -> None:
    """Drop events before a moment, in microseconds: CONTEXT before all ranges that are still wanted."""
    connection.execute('DELETE FROM fraud_purchases WHERE "at" < ?', [before])
    connection.execute('DELETE FROM fraud_roaming WHERE "at" < ?', [before])
    connection.execute("DELETE FROM fraud_seen WHERE hour < ?", [before // HOUR])


def flags(
    connection: duckdb.DuckDBPyConnection, events: str, emit_from: int, emit_to: int, detected_at: datetime
) -> pa.Table:
    """Rows of TABLE: the flags whose first crossing lies in [emit_from, emit_to), in microseconds since the epoch.

    `events` names the table of recent events, which covers at least [emit_from - CONTEXT, emit_to).
    """
    wanted = _Range(events, emit_from, emit_to)
    search = " UNION ALL ".join(_suspects(wanted, *look) for look in _looks())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fraud_suspects AS {search}")
    suspected = connection.execute("SELECT DISTINCT rule_id FROM fraud_suspects").fetchall()
    found = [SCHEMA.empty_table()]
    for rule in RULES:
        if (rule.rule_id,) in suspected:
            rows = connection.execute(_judgement(wanted, rule, micros(detected_at))).to_arrow_table()
            found.append(rows.select(SCHEMA.names).cast(SCHEMA))
    return pa.concat_tables(found)


def _looks() -> Iterator[tuple[Rule, int, Watch]]:
    """Every rule's watches, numbered from the most to the least specific."""
    for rule in RULES:
        for number, watch in enumerate(rule.watches):
            yield rule, number, watch


def _suspects(wanted: _Range, rule: Rule, number: int, watch: Watch) -> str:
    """The entities that did something in the range and could cross in it: a cheap necessary condition."""
    key, considered, possible = KEYS[watch.entity], _considered(wanted, rule), _possible(rule, watch)
    where = f'"at" > {wanted.begin - rule.window // MICROSECOND}'
    if rule.considers == "views":  # So many that sorting out the idle last is cheaper.
        possible = f'max("at") >= {wanted.begin} AND ({possible})'
    else:
        active = f'SELECT {key} FROM {considered} WHERE "at" >= {wanted.begin}'
        where += f" AND {key} IN ({active})"
    return f"""
        SELECT '{rule.rule_id}' AS rule_id, {number} AS watch, {key} AS entity_key
        FROM {considered} WHERE {where} GROUP BY {key} HAVING {possible}"""


def _considered(wanted: _Range, rule: Rule) -> str:
    """The events that a rule considers. Where texts are only counted, their hashes stand for them."""
    if rule.considers == "events":
        source = f"*, u AS user_id, d AS device_id, {CIRCLE_SQL} AS circle FROM fraud_roaming"
    elif rule.considers == "views":
        source = f"* REPLACE (u AS user_id) FROM {wanted.events}"
    else:
        hashes = ", ".join(f"{key} AS {ENTITY_COLUMNS[entity]}" for entity, key in KEYS.items())
        source = f"* REPLACE ({hashes}), {IS_DECLINED_SQL} AS is_declined FROM fraud_purchases"
    return f'(SELECT {source} WHERE "at" < {wanted.end} AND {CONSIDERED_SQL[rule.considers]})'


def _possible(rule: Rule, watch: Watch) -> str:
    """A condition that is true if everything that an entity did allows a crossing."""
    alternatives = (" AND ".join(_may_hold(rule, condition) for condition in conditions) for conditions in watch.any_of)
    return " OR ".join(f"({alternative})" for alternative in alternatives)


def _may_hold(rule: Rule, condition: Condition) -> str:
    measure, least = MEASURES[condition.measure], condition.at_least or 0
    if least > 0 and measure.counts_events and (measure.differs_in or rule.considers != "events"):
        return f"{measure.sql.replace(' OVER history', '')} >= {least}"
    return f"count(DISTINCT {measure.differs_in}) > 1" if least > 0 and measure.differs_in else "true"


def _judgement(wanted: _Range, rule: Rule, detected_at: int) -> str:
    """The query of a rule's flags."""
    entities = [watch.entity for watch in rule.watches]
    return _FLAGS.format(
        watched=" UNION ALL ".join(_watched(wanted, *look) for look in _looks() if look[0] is rule),
        needs=is_evaluable_sql(rule),
        measures=_measures(rule),
        excess=" ".join(_excess(number, watch) for number, watch in enumerate(rule.watches)),
        reason=_reason(rule),
        entity_types=", ".join(map(repr, entities)),
        entities=", ".join(ENTITY_COLUMNS[entity] for entity in entities),
        texts=wanted.events if rule.considers in ("events", "views") else "fraud_purchases",
        begin=wanted.begin,
        end=wanted.end,
        window=rule.window // MICROSECOND,
        cooldown=rule.cooldown // MICROSECOND,
        score=_score(rule),
        detected_at=detected_at,
        **{name: getattr(rule, name) for name in ("rule_id", "version", "severity", "most_events")},
    )


def _watched(wanted: _Range, rule: Rule, number: int, watch: Watch) -> str:
    """The suspects' events that the rule looks at."""
    return f"""
        SELECT {number} AS watch, {KEYS[watch.entity]} AS entity_key, * FROM {_considered(wanted, rule)}
        WHERE "at" >= {wanted.begin - rule.context // MICROSECOND} AND entity_key IN (
            SELECT entity_key FROM fraud_suspects WHERE rule_id = '{rule.rule_id}' AND watch = {number}
        )"""


def _measures(rule: Rule) -> str:
    """The measures that the rule's conditions and reason name, as columns."""
    conditions = {condition.measure for watch in rule.watches for others in watch.any_of for condition in others}
    words = {name for _, name, _, _ in Formatter().parse(rule.reason) if name}
    columns = {**{name: measure.sql for name, measure in MEASURES.items()}, **WORDS}
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items() if name in conditions | words)


def _excess(number: int, watch: Watch) -> str:
    """By what factor the leading measure of the first alternative that holds exceeds its threshold."""
    return " ".join(
        f"WHEN watch = {number} AND {' AND '.join(map(_holds, conditions))}"
        f" THEN {conditions[0].measure} / {_double(conditions[0].at_least or 0)}"
        for conditions in watch.any_of
    )


def _holds(condition: Condition) -> str:
    if condition.at_least is None:
        return f"{condition.measure} <= {_double(condition.at_most or 0)}"
    return f"{condition.measure} >= {_double(condition.at_least)}"


def _score(rule: Rule) -> str:
    leeway, window = _double(1 - SEVERITY_FLOORS[rule.severity]), _double(rule.window.total_seconds())
    return _rounded(f"1 - {leeway} / (excess * ({window} / greatest(span, 1e0)))")


def _rounded(score: str) -> str:
    """Half up, as Spark does: from the shortest text that identifies the number."""
    return f"round(({score})::VARCHAR::DECIMAL(18, 17), 3)::DOUBLE"


def _double(number: float) -> str:
    """A number as SQL: with an exponent it is no decimal."""
    return f"{number!r}e0"


def _reason(rule: Rule) -> str:
    """The rule's sentence with its measures filled in."""
    parts = (("'{}'".format(text.replace("'", "''")), name) for text, name, _, _ in Formatter().parse(rule.reason))
    return " || ".join(f"{text} || coalesce({_worded(name)}, '{UNTOLD}')" if name else text for text, name in parts)


def _worded(name: str) -> str:
    if name == "span":
        return "format('{:,.1f} minutes', span / 60)"
    if name in MEASURES:
        return f"format('{{:,.{DECIMALS.get(name, 0)}f}}', {name}::DOUBLE)"
    return name
