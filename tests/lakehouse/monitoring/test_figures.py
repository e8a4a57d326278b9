"""The figures of the alerts are what the tables, the registry, the reports and the serving file say."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lakehouse.jobs import reconcile
from lakehouse.monitoring import figures as gathering
from lakehouse.monitoring.figures import Figure, Figures
from lakehouse.monitoring.rules import RULES
from lakehouse.reports import write_report
from lakehouse.runs.models import Run, new_id, now
from lakehouse.runs.registry import RunRegistry
from lakehouse.serving.file import PUBLISHED
from lakehouse.settings import Settings
from tests.support.declared_tables import Reader
from tests.support.platform import free_settings

BATCH = """
INSERT INTO ops.batches BY NAME SELECT 'shop.clicks' AS topic, 0 AS "partition", {bronze} AS bronze_rows,
    {bronze} - {refused} AS silver_rows, 0 AS duplicate_rows, {refused} AS quarantined_rows,
    now() - INTERVAL {minutes} MINUTE AS started_at, now() - INTERVAL {minutes} MINUTE AS committed_at
"""
REFUSED = """
INSERT INTO silver.quarantine BY NAME SELECT 'shop.clicks' AS topic, '{reason}' AS reason_code,
    '{detail}' AS reason_detail, now() - INTERVAL {minutes} MINUTE AS quarantined_at, current_date AS ingest_date
FROM range({rows})
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return free_settings(tmp_path)


@pytest.fixture
def registry(settings: Settings) -> RunRegistry:
    return RunRegistry.open(settings)


@pytest.fixture
def lake(empty_lake: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    empty_lake.execute("BEGIN")
    yield empty_lake
    empty_lake.execute("ROLLBACK")


@pytest.fixture
def gather(settings: Settings, registry: RunRegistry, lake: duckdb.DuckDBPyConnection):
    gatherer = Figures(settings, registry.database, Reader(lake))  # type: ignore[arg-type]
    return lambda name: gatherer.gather()[name]


def add_run(registry: RunRegistry, job: str, state: str, code: str = "error", message: str = "it broke") -> str:
    made = Run(
        id=new_id(), job=job, parameters={}, state=state, caller="me", trigger="api", created_at=now(),
        finished_at=now(), error=None if state == "succeeded" else {"code": code, "message": message},
    )  # fmt: skip
    with registry.database.writing() as session:
        session.add(made)
        session.flush()
        return made.id


def test_an_empty_lake_has_nothing_wrong(gather) -> None:
    found = {name: gather(name).value for name in ("unbalanced_places", "largest_broken_share", "refused_share")}
    assert set(found.values()) == {0}
    assert gather("unread_seconds").value is None


def test_how_long_records_wait_counts_from_the_newest_batch(gather, lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.execute(BATCH.format(bronze=100, refused=0, minutes=5))
    monkeypatch.setattr(gathering, "lag", lambda _settings: 0)
    assert gather("unread_seconds").value == 0 and gather("lag_records").value == 0
    monkeypatch.setattr(gathering, "lag", lambda _settings: 1200)
    assert gather("unread_seconds").value == pytest.approx(300, abs=20)
    assert gather("lag_records") == Figure(1200, "1,200 records wait")


def test_the_share_of_refused_records_is_that_of_the_last_quarter_of_an_hour(gather, lake) -> None:
    lake.execute(BATCH.format(bronze=1000, refused=900, minutes=20))
    lake.execute(BATCH.format(bronze=99, refused=99, minutes=10))
    assert gather("refused_share").value == 0, "of so few records it says nothing"
    lake.execute(BATCH.format(bronze=101, refused=1, minutes=1))
    assert gather("refused_share") == Figure(0.5, "100 of 200 records")


def test_one_broken_field_of_a_topic_stands_out(gather, lake) -> None:
    lake.execute(BATCH.format(bronze=1000, refused=200, minutes=1))
    wrong = "data.price has the type STRING"
    lake.execute(REFUSED.format(reason="wrong_type", detail=wrong, minutes=20, rows=500))
    lake.execute(REFUSED.format(reason="not_json", detail="{", minutes=1, rows=500))
    for number in range(30):
        lake.execute(REFUSED.format(reason="wrong_type", detail=f"data.f{number} has", minutes=1, rows=9))
    assert gather("largest_broken_share").value == 0, "old ones, damaged ones, and a few of each kind are no change"
    lake.execute(REFUSED.format(reason="wrong_type", detail=wrong, minutes=1, rows=60))
    assert gather("largest_broken_share") == Figure(0.06, f"shop.clicks: 60 records, wrong_type, {wrong}")


@pytest.mark.parametrize(
    ("reason", "detail"),
    [("wrong_type", "data.coupon has the type OBJECT"), ("unknown_version", "schema_version is 9")],
)
def test_an_incompatible_change_of_a_producer_fires(gather, lake, settings: Settings, reason: str, detail: str) -> None:
    (rule,) = (rule for rule in RULES if rule.name == "schema_incompatible")
    lake.execute(BATCH.format(bronze=1000, refused=51, minutes=1))
    lake.execute(REFUSED.format(reason=reason, detail=detail, minutes=1, rows=51))
    figure = gather(rule.figure)
    assert figure.value is not None and figure.value > rule.limit_in(settings)
    assert detail in figure.detail, "the message names what changed"


def test_only_the_newest_run_of_a_job_counts(gather, registry: RunRegistry) -> None:
    add_run(registry, "maintenance", "failed")
    lost = add_run(registry, "backfill", "lost")
    add_run(registry, "quality", "failed", code="wrong_use")
    assert gather("failed_jobs").value == 2
    add_run(registry, "maintenance", "succeeded")
    add_run(registry, "backfill", "cancelled")
    assert gather("failed_jobs") == Figure(1, f"backfill {lost} lost")


def test_books_that_do_not_balance_are_told_by_the_book_and_by_reconcile(gather, registry, lake) -> None:
    lake.execute(BATCH.format(bronze=10, refused=0, minutes=1))
    assert gather("unbalanced_places").value == 0
    add_run(registry, "reconcile", "failed", message=f"{reconcile.UNBALANCED} shop.clicks partition 0: lost.")
    lake.execute("UPDATE ops.batches SET silver_rows = 9")
    told = gather("unbalanced_places")
    assert told.value == 2 and "shop.clicks partition 0: lost." in told.detail and "1 rows" in told.detail
    assert gather("failed_jobs").value == 0, "one alert is enough"
    add_run(registry, "reconcile", "failed", code="unavailable", message="Kafka does not answer.")
    assert (gather("unbalanced_places").value, gather("failed_jobs").value) == (1, 1)


def test_what_is_blocked_is_what_the_serving_file_says(gather, settings: Settings) -> None:
    assert gather("blocked_tables").value is None
    settings.serving_file.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.serving_file)) as file:
        file.execute(
            f"CREATE TABLE {PUBLISHED} (table_name VARCHAR, blocked_by VARCHAR, held_rows BIGINT, held_by VARCHAR)"
        )
        file.execute(f"INSERT INTO {PUBLISHED} VALUES ('gold.kpis_hourly', '', 2, 'y'), ('gold.a', '', 0, '')")
        file.execute(f"INSERT INTO {PUBLISHED} VALUES ('gold.fraud_flags', 'x.is_right', 0, '')")
    assert gather("blocked_tables") == Figure(2, "gold.fraud_flags: x.is_right; gold.kpis_hourly: 2 rows: y")


def test_checks_that_hold_nothing_back_are_told_by_their_newest_result(gather, settings: Settings) -> None:
    assert gather("failing_checks").value is None
    settings.serving_file.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.serving_file)) as file:
        file.execute(
            f"CREATE TABLE {PUBLISHED} (table_name VARCHAR, blocked_by VARCHAR, held_rows BIGINT, held_by VARCHAR)"
        )
        file.execute(f"INSERT INTO {PUBLISHED} VALUES ('gold.kpis_hourly', '', 0, '')")
        file.execute("CREATE SCHEMA ops")
        file.execute(
            "CREATE TABLE ops.quality_results"
            " (table_name VARCHAR, expectation VARCHAR, severity VARCHAR, success BOOLEAN, checked_at TIMESTAMP,"
            " detail VARCHAR, observed VARCHAR)"
        )
        file.execute(
            "INSERT INTO ops.quality_results (table_name, expectation, severity, success, checked_at) VALUES"
            " ('silver.events', 'silver.events.is_complete', 'block', false, '2026-09-03 10:00'),"
            " ('silver.events', 'silver.events.is_fresh', 'warn', false, '2026-09-03 10:00'),"
            " ('silver.quarantine', 'silver.quarantine.each_record_once', 'block', false, '2026-09-03 10:00'),"
            " ('silver.quarantine', 'silver.quarantine.each_record_once', 'block', true, '2026-09-03 11:00'),"
            " ('gold.kpis_hourly', 'gold.kpis_hourly.counts_are_possible', 'block', false, '2026-09-03 10:00')"
        )
    assert gather("failing_checks") == Figure(1, "silver.events.is_complete")


def test_reports_tell_who_is_silent(gather, settings: Settings) -> None:
    for name in ("stream", "publisher"):
        write_report(settings.run_dir / f"{name}.json", state="running", message="")
    assert gather("stream_silent_seconds").value < 30 and gather("publisher_failing").value == 0
    write_report(settings.run_dir / "publisher.json", message="S3 does not answer")
    assert gather("publisher_failing") == Figure(1, "S3 does not answer")
    old = {"state": "running", "updated_at": (datetime.now(UTC) - timedelta(minutes=2)).isoformat()}
    for name in ("stream", "publisher"):
        (settings.run_dir / f"{name}.json").write_text(json.dumps(old))
    assert gather("stream_silent_seconds").value == pytest.approx(120, abs=20)
    assert gather("publisher_failing").detail.startswith("silent for 1")
