"""gold.flag_events in the serving file: the events that fraud flags rest on, and what else the user did around them, so
that a person can see what happened.

Each publish looks up the events of the newest flags that have none yet, a day of them at a time: silver is read for
that day and between those moments only. A flag is raised seconds after its events: it is looked up once more when half
an hour has passed, for what the user did then.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb

from lakehouse.sql import SqlReader
from lakehouse.sql_text import quoted_text

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_DAYS = 92
"""The quarter that *Fraud desk* shows."""
MOST_FLAGS = 100
"""So many flags are looked up in one publish."""
AROUND_MINUTES = 30
MOST_AROUND = 50
"""So many events of the user that a flag does not rest on, the nearest to its end, are shown with it."""
COLUMNS = (
    ("flag_id", "VARCHAR", "The flag"),
    ("rule_id", "VARCHAR", "The flag's rule"),
    ("severity", "VARCHAR", "The flag's severity"),
    ("is_evidence", "BOOLEAN", "Whether the flag rests on the event; else the user did it within half an hour of that"),
    ("event_id", "VARCHAR", "The event"),
    ("event_time", "TIMESTAMP", "When the event happened, UTC"),
    ("event_type", "VARCHAR", "What kind of event"),
    ("user_id", "VARCHAR", "Who did it"),
    ("product_name", "VARCHAR", "The product"),
    ("amount", "DECIMAL(28,9)", "Total of the order, in its currency"),
    ("currency", "VARCHAR", "ISO 4217"),
    ("payment_status", "VARCHAR", "approved, declined, or null"),
    ("card_fingerprint", "VARCHAR", "Anonymous fingerprint of the card"),
    ("country", "VARCHAR", "ISO 3166-1 alpha-2"),
    ("ip", "VARCHAR", "Network address"),
    ("device_id", "VARCHAR", "The device"),
    ("looked_up_at", "TIMESTAMP", "When it was looked up, UTC"),
)
_OF_EVENT = [name for name, _, _ in COLUMNS[4:-1]]
_FORGET = f"""
DELETE FROM gold.flag_events WHERE flag_id NOT IN (
    SELECT flag_id FROM gold.fraud_flags WHERE event_time >= now()::TIMESTAMP - INTERVAL {KEPT_DAYS} DAY)
    OR flag_id IN (SELECT flag_id FROM gold.fraud_flags AS flag JOIN gold.flag_events AS shown USING (flag_id)
        WHERE flag.window_end + INTERVAL {AROUND_MINUTES + 1} MINUTE BETWEEN shown.looked_up_at AND now()::TIMESTAMP)
"""  # noqa: S608 - the numbers are declared above
"""What belongs to no flag of late, and what was looked up before its half hour had passed, when it has."""
_WANTED = f"""
WITH missing AS (
    SELECT flag_id, rule_id, severity, user_id, unnest(evidence) AS event_id, window_start, window_end, event_date
    FROM gold.fraud_flags
    WHERE event_time >= now()::TIMESTAMP - INTERVAL {KEPT_DAYS} DAY
        AND flag_id NOT IN (SELECT flag_id FROM gold.flag_events) AND flag_id NOT IN (SELECT unnest(?)))
SELECT flag_id, rule_id, severity, user_id, event_id, window_start, window_end FROM missing
WHERE event_date = (SELECT max(event_date) FROM missing)
QUALIFY dense_rank() OVER (ORDER BY window_end DESC, flag_id) <= {MOST_FLAGS}
"""  # noqa: S608 - the numbers are declared above
_ADD = f"""
INSERT INTO gold.flag_events BY NAME
SELECT wanted.flag_id, wanted.rule_id, wanted.severity, true AS is_evidence, events.*, now()::TIMESTAMP AS looked_up_at
FROM wanted JOIN events USING (event_id)
UNION ALL BY NAME
SELECT flag.flag_id, flag.rule_id, flag.severity, false AS is_evidence, events.*, now()::TIMESTAMP AS looked_up_at
FROM (SELECT DISTINCT flag_id, rule_id, severity, user_id, window_start, window_end FROM wanted) flag
JOIN events ON events.user_id = flag.user_id
    AND events.event_time BETWEEN flag.window_start - INTERVAL {AROUND_MINUTES} MINUTE
        AND flag.window_end + INTERVAL {AROUND_MINUTES} MINUTE
ANTI JOIN wanted ON wanted.flag_id = flag.flag_id AND wanted.event_id = events.event_id
QUALIFY row_number() OVER (PARTITION BY flag.flag_id ORDER BY abs(epoch(events.event_time - flag.window_end)))
    <= {MOST_AROUND}
"""  # noqa: S608 - the numbers are declared above


class Evidence:
    """Looks up the events of flags."""

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader
        self._lost: set[str] = set()
        """Flags whose events silver does not have."""

    def update(self, target: duckdb.DuckDBPyConnection) -> datetime | None:
        """Add what is missing for one day's flags, and forget what belongs to no flag of late."""
        now = datetime.now(UTC)
        gone = target.execute(_FORGET).fetchall()[0][0]
        wanted = target.execute(_WANTED, [sorted(self._lost) or [""]]).to_arrow_table()
        if not wanted.num_rows:
            return now if gone else None
        events = self._reader.arrow(self._query(wanted))
        target.register("wanted", wanted)
        target.register("events", events)
        target.execute(_ADD)
        lost = target.execute("SELECT flag_id FROM wanted WHERE flag_id NOT IN (SELECT flag_id FROM gold.flag_events)")
        self._lost.update(flag for (flag,) in lost.fetchall())
        target.unregister("events")
        target.unregister("wanted")
        return now

    def _query(self, wanted: pa.Table) -> str:
        """What silver is asked for: the events of the evidence, and those of the same users around it."""
        around = timedelta(minutes=AROUND_MINUTES)
        start = min(wanted.column("window_start").to_pylist()) - around
        end = max(wanted.column("window_end").to_pylist()) + around
        return (
            f"SELECT {', '.join(_OF_EVENT)} FROM delta_scan({quoted_text(self._reader.address('silver.events'))})"  # noqa: S608 - names are declared here, values are quoted
            f" WHERE event_date BETWEEN DATE '{start:%Y-%m-%d}' AND DATE '{end:%Y-%m-%d}'"
            f" AND event_time BETWEEN TIMESTAMPTZ '{start}+00' AND TIMESTAMPTZ '{end}+00'"
            f" AND (event_id IN ({_listed(wanted, 'event_id')}) OR user_id IN ({_listed(wanted, 'user_id')}))"
        )


def _listed(wanted: pa.Table, name: str) -> str:
    return ", ".join(quoted_text(value) for value in sorted(set(wanted.column(name).to_pylist()) - {None})) or "NULL"
