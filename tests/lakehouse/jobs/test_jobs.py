"""The registry: every job says what it takes, and refuses what it does not by name."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from lakehouse.catalog import TABLES
from lakehouse.errors import UsageError
from lakehouse.jobs import JOBS, backfill, find, forget, maintenance
from lakehouse.lake import Lake
from lakehouse.small_tables import Compacted
from lakehouse.table import KEEP_HOURS, READER_SECONDS
from lakehouse.wording import MOMENT

RANGED = ["top_products", "fraud_scan", "backfill"]


def test_jobs_go_by_their_own_names() -> None:
    assert all(name == job.name for name, job in JOBS.items())
    assert set(JOBS) >= {"cohort_retention", "maintenance", *RANGED}
    assert all(find(name) is job for name, job in JOBS.items())


def test_an_unknown_job_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as refusal:
        find("cohort-retention")
    assert "'cohort-retention'" in str(refusal.value)
    assert all(name in str(refusal.value) for name in JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_every_job_says_what_it_does_and_writes(name: str) -> None:
    job = JOBS[name]
    assert job.summary.endswith(".")
    assert job.steps >= 1
    assert all(field.description for field in job.parameters.model_fields.values())
    assert len({table.full_name for table in job.writes}) == len(job.writes)


@pytest.mark.parametrize("name", JOBS)
def test_an_unknown_parameter_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match="no_such_parameter") as refusal:
        find(name).parse({"no_such_parameter": "1"})
    assert all(known in str(refusal.value) for known in JOBS[name].parameters.model_fields)


def test_the_running_day_is_that_of_the_time_zone() -> None:
    zones = {zone: find("cohort_retention").parse({"timezone": zone}) for zone in ("Etc/GMT+12", "Pacific/Kiritimati")}
    here = {zone: datetime.now(ZoneInfo(zone)).date() for zone in zones}
    assert {zone: given.as_of for zone, given in zones.items()} == here
    assert len(set(here.values())) == 2, "26 hours apart, they never have the same day"


@pytest.mark.parametrize("name", JOBS)
def test_what_has_defaults_need_not_be_given(name: str) -> None:
    fields = JOBS[name].parameters.model_fields
    needed = [field for field, info in fields.items() if info.is_required()]
    if needed:
        with pytest.raises(UsageError, match=needed[0]):
            find(name).parse({})
    else:
        assert set(find(name).parse({}).model_dump()) == set(fields)


@pytest.mark.parametrize("name", RANGED)
def test_a_range_defaults_to_today_and_reads_dates(name: str) -> None:
    before = datetime.now(UTC).date()
    default = find(name).parse({}).model_dump()
    assert before <= default["from_date"] <= default["to_date"] <= datetime.now(UTC).date()
    given = find(name).parse({"from_date": "2026-02-28", "to_date": "2026-03-01"}).model_dump()
    assert given == {"from_date": date(2026, 2, 28), "to_date": date(2026, 3, 1)}


@pytest.mark.parametrize("name", RANGED)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"from_date": "2026-02-30"}, "from_date"),
        ({"to_date": "soon"}, "to_date"),
        ({"to_date": ""}, "to_date"),
        ({"from_date": "2026-03-02", "to_date": "2026-03-01"}, "to_date is before from_date"),
        ({"from_date": "2000-01-01", "to_date": "2026-03-01"}, "longer than ten years"),
    ],
)
def test_a_bad_date_is_refused_by_name(name: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        find(name).parse(given)


def test_retention_knows_time_zones() -> None:
    job = find("cohort_retention")
    assert job.parse({}).model_dump()["timezone"] == "UTC"
    given = job.parse({"timezone": "Asia/Kolkata", "as_of": "2026-03-01"}).model_dump()
    assert given == {"as_of": date(2026, 3, 1), "timezone": "Asia/Kolkata"}


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "utc' OR '1' = '1", "../../etc/passwd", "+05:30"])
def test_retention_refuses_what_is_no_time_zone(zone: str) -> None:
    with pytest.raises(UsageError, match=r"timezone of cohort_retention is wrong.*not an IANA time zone"):
        find("cohort_retention").parse({"timezone": zone})


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("backfill", {"to_date": "soon"}, "to_date of backfill is wrong: it must be a day, such as 2026-09-03."),
        ("backfill", {"to_date": "2026-02-30"}, "to_date of backfill is wrong: it must be a day, such as 2026-09-03."),
        ("quality", {"scope": "half"}, "scope of quality is wrong: it must be 'full', 'incremental' or 'due'."),
        ("replay_quarantine", {"dry_run": "9"}, "dry_run of replay_quarantine is wrong: it must be true or false."),
        ("replay_quarantine", {"limit": "all"}, "limit of replay_quarantine is wrong: it must be a whole number."),
        ("replay_quarantine", {"limit": "0"}, "limit of replay_quarantine is wrong: it must be 1 or more."),
        ("replay_quarantine", {"limit": "1000000"}, "limit of replay_quarantine is wrong: it must be 100000 or less."),
        ("replay_quarantine", {"from_time": "2026-09-03"}, f"from_time of replay_quarantine is wrong: {MOMENT}."),
        ("replay_quarantine", {"from_time": "now"}, f"from_time of replay_quarantine is wrong: {MOMENT}."),
        (
            "replay_quarantine", {"reason": "wrong_tpye"},
            "reason of replay_quarantine is wrong: there is no 'wrong_tpye', but wrong_type.",
        ),
        (
            "replay_quarantine", {"topic": "page_views"},
            "topic of replay_quarantine is wrong: there is no 'page_views', but shop.page_views.",
        ),
        ("stream", {}, "action of stream is wrong: it is required."),
        ("stream", {"akshun": "stop"}, "akshun of stream is wrong: there is nothing of that name; there are action."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_plain_words(name: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        find(name).parse(given)
    assert str(refusal.value) == f"The parameter {said}"


def test_parameters_that_do_not_fit_each_other_are_no_parameter_of_that_name() -> None:
    with pytest.raises(UsageError) as refusal:
        find("backfill").parse({"from_date": "2026-03-02", "to_date": "2026-03-01"})
    assert str(refusal.value) == "The parameters of backfill are wrong: to_date is before from_date."


def test_files_are_kept_longer_than_any_run_may_write_and_any_reader_reads() -> None:
    longest = max(job.timeout_seconds for job in JOBS.values())
    assert longest + READER_SECONDS <= KEEP_HOURS * 3600
    assert min(table.keep_hours for table in TABLES) >= KEEP_HOURS
    with pytest.raises(ValueError, match="time-out"):
        replace(JOBS["backfill"], timeout_seconds=longest + 1)


@pytest.mark.parametrize("hours", [0, KEEP_HOURS - 0.01, float("nan")])
def test_no_table_keeps_its_files_for_less_than_is_safe(hours: float) -> None:
    with pytest.raises(ValueError, match="may still be needed"):
        replace(TABLES[0], keep_hours=hours)


def test_maintenance_tidies_all_tables_or_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "s3_client", lambda _settings: None)
    monkeypatch.setattr(maintenance.persons, "drop_old", lambda _settings: None)
    monkeypatch.setattr(maintenance, "tidy", lambda _lake, _client, table, _today: {"table": table.full_name})

    def tidied(**given: str) -> list[str]:
        parameters = cast(maintenance.Parameters, JOBS["maintenance"].parse(given))
        found = maintenance.run(cast(Lake, SimpleNamespace(settings=None)), parameters, lambda _said: None)
        return [row["table"] for row in found["maintained"]]

    assert tidied() == [table.full_name for table in TABLES]
    assert tidied(table="silver.events") == ["silver.events"]
    with pytest.raises(UsageError, match="no table of the lake"):
        JOBS["maintenance"].parse({"table": "silver.event"})


def test_maintenance_tells_what_is_gone_also_when_others_write() -> None:
    log = [f"t/_delta_log/{version:020}.{kind}" for version in (3, 4, 5) for kind in ("json", "crc")]
    kept = dict.fromkeys([*log[2:], f"t/_delta_log/{3:020}.checkpoint.parquet"], 1)
    before, after = {"a": 10, "b": 20, **dict.fromkeys(log, 1)}, {"b": 20, "new": 500, **kept}
    row = maintenance.saved(TABLES[0], before, after, Compacted(2, 1), 3)
    assert row == {
        "table": TABLES[0].full_name,
        "files_before": 8, "files_after": 7, "bytes_before": 36, "bytes_after": 525,
        "compacted_files": 2, "compacted_into": 1, "clustered_days": 3,
        "log_files_before": 6, "log_files_after": 5, "log_commits_to_read": 2, "deleted_files": 3, "deleted_bytes": 12,
    }  # fmt: skip


def test_after_a_backfill_nobody_goes_on_from_where_he_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuilt rows keep the times at which they were processed, so that a mark would pass them by."""
    forgotten: list[str] = []
    monkeypatch.setattr(backfill.marks, "forget", lambda _lake, job: forgotten.append(job))
    backfill._forget_what_was_done(cast(Lake, None))
    assert set(forgotten) == {"cohort_retention", "reconcile", "quality"}


def test_what_a_killed_stream_left_on_the_disk_goes_with_the_person(tmp_path: Path) -> None:
    spilled = tmp_path / "fold.duckdb.tmp"
    spilled.mkdir()
    for file in (tmp_path / "fold.duckdb", spilled / "duckdb_temp_storage_DEFAULT-0.tmp"):
        file.write_text("u4711")
    forget._delete(tmp_path, "fold.duckdb*")
    assert not [*tmp_path.iterdir()]
