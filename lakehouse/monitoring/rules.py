"""The rules of the alerts, as data. A new one is one entry here, and one figure where it needs a new one."""

from dataclasses import dataclass
from typing import Literal

from lakehouse.settings import Settings

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Rule:
    """Fires when a figure (`lakehouse.monitoring.figures`) is greater than `limit` for `holds_seconds` on end.

    It is over when the figure has not been for as long. `limit` is a number or the name of the setting that holds it.
    A figure that cannot be told now changes nothing.
    """

    name: str
    severity: Severity
    figure: str
    limit: float | str
    holds_seconds: float
    means: str
    what_to_do: str

    def limit_in(self, settings: Settings) -> float:
        """The limit as a number."""
        return float(getattr(settings, self.limit)) if isinstance(self.limit, str) else self.limit


RULES = (
    Rule(
        "stream_silent",
        "critical",
        "stream_silent_seconds",
        60,
        60,
        "The stream has not reported for a minute.",
        "See `shoplake status` and the end of stream.log and spark.log. The supervisor restarts it; if that keeps"
        " happening, the last line of stream.log says why.",
    ),
    Rule(
        "stream_behind",
        "warning",
        "lag_records",
        "alert_lag_records",
        60,
        "More records wait on the broker than the stream should leave there.",
        "`shoplake status` shows the lag. If it grows, this machine is too small for the traffic: give Spark more"
        " cores and memory. If it falls, the stream is catching up: wait.",
    ),
    Rule(
        "data_stale",
        "critical",
        "unread_seconds",
        "alert_freshness_seconds",
        60,
        "Records wait, but none has reached the tables for a while.",
        "If somebody stopped the stream, `shoplake run stream -p action=start` starts it; else see stream_silent.",
    ),
    Rule(
        "run_failed",
        "warning",
        "failed_jobs",
        0,
        0,
        "The newest run of a job failed or was lost. The alert ends when a run of the job succeeds.",
        "`shoplake runs list --state failed` and `shoplake runs logs ID` say why; fix that and run the job again.",
    ),
    Rule(
        "table_blocked",
        "critical",
        "blocked_tables",
        0,
        0,
        "A table fails its expectations: dashboards show its last good version, or lack the rows that fail.",
        "`shoplake quality status` names the expectation. Correct the data (backfill the days), then `shoplake"
        " quality check`; or let it pass for a while with `shoplake quality override`.",
    ),
    Rule(
        "check_failing",
        "critical",
        "failing_checks",
        0,
        0,
        "An expectation that must hold fails where nothing can be held back: in silver or in the books.",
        "`shoplake quality status` explains it. A backfill of the days rebuilds silver and gold from bronze; then"
        " `shoplake quality check`.",
    ),
    Rule(
        "ledger_unbalanced",
        "critical",
        "unbalanced_places",
        0,
        0,
        "Records are lost or doubled: bronze is not silver + duplicates + quarantined.",
        "`shoplake reconcile --full` names the first topic, partition and hour. Bronze has every record: a backfill of"
        " these days rebuilds silver and gold.",
    ),
    Rule(
        "schema_incompatible",
        "critical",
        "largest_broken_share",
        0.05,
        0,
        "A producer has changed its events: many records of a topic are refused for the same field.",
        "Ask the producer's owner. `shoplake quarantine list` shows the records; they are kept, and `shoplake"
        " quarantine replay --fix` sends them again (docs/how-to/quality.md).",
    ),
    Rule(
        "quarantine_rising",
        "warning",
        "refused_share",
        "alert_quarantine_share",
        0,
        "A large share of the records of the last quarter of an hour is refused.",
        "`shoplake quarantine list --summary` counts the reasons; docs/reference/quarantine-reasons.md explains each.",
    ),
    Rule(
        "publisher_stale",
        "warning",
        "publisher_failing",
        0,
        120,
        "The serving file is not updated: dashboards and SQL over gold show an old state.",
        "See `shoplake status` and the end of publisher.log.",
    ),
)
