"""silver.events: complete, unique, within the contract, arriving, and not suddenly another shop."""

from producer.contract import DATA_FIELDS, EVENT_TYPES, MAX_AMOUNT, MAX_QUANTITY, TOPIC_OF_TYPE
from quality.declaration import between, none, suite

TABLE = "silver.events"
_HOMES = ", ".join(f"('{name}', '{topic}')" for name, topic in TOPIC_OF_TYPE.items())
_STATUSES = ", ".join(map(repr, DATA_FIELDS["payment_status"].choices))
_NEEDED = " OR ".join(
    f"(event_type = '{kind.name}' AND {'amount' if name == 'total_amount' else name} IS NULL)"
    for kind in EVENT_TYPES
    for name in kind.required
)

SUITES = (
    suite(
        TABLE,
        f"""
        SELECT count(*) - count(DISTINCT (event_id, event_time)) AS repeated_events,
            count(*) - count(DISTINCT (topic, "partition", "offset")) AS repeated_records,
            count(*) FILTER (event_id IS NULL OR event_type IS NULL OR user_id IS NULL OR event_time IS NULL
                OR topic IS NULL OR "partition" IS NULL OR "offset" IS NULL) AS incomplete,
            count(*) FILTER ({_NEEDED}) AS without_their_data,
            count(*) FILTER ((event_type, topic) NOT IN ({_HOMES})) AS on_another_topic,
            count(*) FILTER (price NOT BETWEEN 0 AND {MAX_AMOUNT} OR amount NOT BETWEEN 0 AND {MAX_AMOUNT})
                AS impossible_amounts,
            count(*) FILTER (quantity NOT BETWEEN 1 AND {MAX_QUANTITY} OR results_count < 0) AS impossible_counts,
            count(*) FILTER (event_date <> event_time::DATE) AS on_another_day,
            count(*) FILTER (event_time > kafka_timestamp + INTERVAL 1 HOUR) AS from_the_future,
            count(*) FILTER (payment_status NOT IN ({_STATUSES})) AS in_another_status
        FROM silver.events WHERE {{days}}
        """,  # noqa: S608 - the names are declared in this project
        none("each_event_once", "repeated_events", "No event_id comes twice with the same time."),
        none("each_record_once", "repeated_records", "No Kafka record was accepted twice."),
        none("is_complete", "incomplete", "Identity, type, user, time and coordinates are there."),
        none("has_its_data", "without_their_data", "What the contract requires of a type is there."),
        none("is_on_its_topic", "on_another_topic", "Types are known, and stand on their topic."),
        none("amounts_are_possible", "impossible_amounts", "Prices and amounts are within the contract."),
        none("counts_are_possible", "impossible_counts", "Quantities and result counts are within the contract."),
        none("is_in_its_partition", "on_another_day", "event_date is the day of event_time."),
        none("payment_status_is_known", "in_another_status", "No other payment status exists."),
        none("is_not_from_the_future", "from_the_future", "No event is an hour ahead of its record.", "warn"),
        day_column="event_date",
    ),
    suite(
        TABLE,
        """
        WITH hours AS (
            SELECT date_trunc('hour', event_time) AS hour, count(*) AS events FROM silver.events
            WHERE event_date >= current_date - 3 GROUP BY 1)
        SELECT before.hour + INTERVAL 24 HOUR AS hour, coalesce(now_.events, 0) / before.events AS ratio
        FROM hours AS before LEFT JOIN hours AS now_ ON now_.hour = before.hour + INTERVAL 24 HOUR
        WHERE before.events >= 100
            AND before.hour + INTERVAL 24 HOUR BETWEEN now() - INTERVAL 25 HOUR AND now() - INTERVAL 1 HOUR
        """,
        between("volume_is_usual", "ratio", 0.1, 10, "An hour holds a tenth to ten times of the hour a day before."),
    ),
    suite(
        TABLE,
        # From the book: however long nothing has come, it is small to look through.
        "SELECT date_diff('minute', max(committed_at), now()) AS minutes FROM ops.batches WHERE silver_rows > 0",
        between("is_fresh", "minutes", None, 60, "The newest event was accepted within the last hour."),
    ),
    suite(
        TABLE,
        """
        WITH counted AS (
            SELECT event_type, count(*) FILTER (event_date = current_date) AS today,
                count(*) FILTER (event_date < current_date) AS earlier
            FROM silver.events WHERE event_date >= current_date - 7 GROUP BY 1),
        shares AS (
            SELECT *, today / sum(today) OVER () AS share_today, earlier / sum(earlier) OVER () AS share_earlier,
                sum(today) OVER () >= 1000 AND sum(earlier) OVER () >= 1000 AS is_enough
            FROM counted)
        SELECT event_type, abs(share_today - share_earlier) AS drift FROM shares WHERE is_enough
        """,
        between("types_do_not_drift", "drift", 0, 0.2, "A type's share today is within 0.2 of the week before."),
    ),
)
