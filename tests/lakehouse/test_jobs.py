"""The registry: every job says what it takes, and refuses what it does not by name."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from lakehouse.errors import UsageError
from lakehouse.jobs import JOBS, find

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


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "100000", "long"])
def test_maintenance_never_deletes_what_a_reader_may_need(hours: str) -> None:
    with pytest.raises(UsageError, match="keep_hours"):
        find("maintenance").parse({"keep_hours": hours})
