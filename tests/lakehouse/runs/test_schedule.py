"""Each due time makes exactly one run, whoever looks, and what was missed makes one run at most."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse.errors import UsageError
from lakehouse.jobs import JOBS as REAL_JOBS
from lakehouse.jobs.quality import full_is_due
from lakehouse.runs.claims import Claims
from lakehouse.runs.models import Run
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.schedule import all_of, last_due, next_due, set_paused, trigger_due
from lakehouse.runs.states import State
from lakehouse.settings import Settings
from tests.support.registry_calls import registry_at, settings_for, trigger_due_at

NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def due(registry: RunRegistry, moment: datetime) -> list[str]:
    return [run.job for run in trigger_due(registry, moment)]


def test_due_times_are_utc_and_include_their_own_minute() -> None:
    exactly = datetime(2027, 3, 1, 2, 10, tzinfo=UTC)
    assert last_due("10 2 * * *", exactly) == exactly
    assert last_due("10 2 * * *", exactly - timedelta(microseconds=1)) == exactly - hours(24)
    assert next_due("10 2 * * *", exactly) == exactly + hours(24)
    assert next_due("10 2 * * *", NOON.astimezone(tz=None)).utcoffset() == timedelta(0)


def test_every_registered_schedule_is_valid() -> None:
    scheduled = {job.name: job.schedule for job in REAL_JOBS.values() if job.schedule}
    assert scheduled["cohort_retention"] == "10 2 * * *" and scheduled["maintenance"] == "30 3,9,15,21 * * *"
    for name, cron in scheduled.items():
        assert next_due(cron, NOON) > NOON
        REAL_JOBS[name].parse(REAL_JOBS[name].scheduled_with)


def test_checks_and_books_are_scheduled_in_what_changed() -> None:
    quality, books = REAL_JOBS["quality"], REAL_JOBS["reconcile"]
    assert (quality.schedule, dict(quality.scheduled_with)) == ("*/15 * * * *", {"scope": "due"})
    assert books.schedule == "20 * * * *" and not books.parse(books.scheduled_with).model_dump()["full"]


def test_a_scheduled_run_has_the_parameters_of_its_schedule(registry: RunRegistry) -> None:
    due(registry, NOON)
    due(registry, datetime(2027, 3, 2, 2, 10, tzinfo=UTC))
    assert {run.job: run.parameters for run in registry.list()} == {"nightly": {"number": 7}, "hourly": {"number": 1}}


def test_everything_is_judged_once_a_day() -> None:
    in_full = datetime(2027, 3, 1, 2, 41, tzinfo=UTC)
    assert full_is_due(None, NOON)
    assert not full_is_due(in_full, NOON) and not full_is_due(in_full, NOON + hours(14))
    assert full_is_due(in_full, datetime(2027, 3, 2, 2, 40, tzinfo=UTC))
    assert full_is_due(datetime(2027, 3, 1, 2, 39, tzinfo=UTC), NOON)


def test_a_due_time_makes_one_run(registry: RunRegistry) -> None:
    assert due(registry, NOON) == [], "what was due before anybody looked is not made up for"
    assert due(registry, NOON + timedelta(minutes=59)) == []
    assert due(registry, NOON + hours(1)) == ["hourly"]
    assert due(registry, NOON + hours(1.5)) == []
    run = registry.list()[0]
    assert (run.caller, run.trigger, run.parameters) == ("schedule", "schedule", {"number": 1})
    assert due(registry, NOON + hours(2)) == ["hourly"]
    assert due(registry, datetime(2027, 3, 2, 2, 10, tzinfo=UTC)) == ["nightly", "hourly"]


def test_of_missed_due_times_only_the_newest_makes_a_run(registry: RunRegistry) -> None:
    due(registry, NOON)
    assert due(registry, NOON + hours(72.5)) == ["nightly", "hourly"]
    assert due(registry, NOON + hours(72.6)) == []
    served = {one.job: one.last_due_at for one in all_of(registry)}
    assert served == {"nightly": datetime(2027, 3, 4, 2, 10, tzinfo=UTC), "hourly": NOON + hours(72)}


def test_what_is_due_often_is_not_made_up_for(registry: RunRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    often = replace(registry.jobs["c"], schedule="*/15 * * * *", makes_up=False)
    monkeypatch.setattr(registry, "jobs", {"c": often})
    minute = timedelta(minutes=1)
    assert due(registry, NOON - minute) == [] and due(registry, NOON + minute) == ["c"]
    assert due(registry, NOON + hours(5) + 10 * minute) == [], "nothing ran for hours: the next time will do"
    assert due(registry, NOON + hours(5) + 14 * minute) == []
    assert due(registry, NOON + hours(5) + 15 * minute) == ["c"]
    made_up = {job.name for job in REAL_JOBS.values() if job.schedule and job.makes_up}
    assert made_up == {"cohort_retention"}, "the others hold locks that a start needs, and come again soon"


def test_a_clock_that_goes_back_makes_no_run_again(registry: RunRegistry) -> None:
    due(registry, NOON)
    assert due(registry, NOON + hours(3)) == ["hourly"]
    assert due(registry, NOON + hours(2)) == [] and due(registry, NOON + hours(3)) == []


def test_a_crash_leaves_neither_a_run_nor_a_note_that_it_is_served(
    registry: RunRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(registry, NOON)

    def die(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "tell", die)
        due(registry, NOON + hours(1))
    assert registry.list() == [] and due(registry, NOON + hours(1)) == ["hourly"] and len(registry.list()) == 1


def test_several_processes_and_restarts_make_one_run_per_due_time(
    settings: Settings, processes: ProcessPoolExecutor
) -> None:
    registry = registry_at(settings)
    due(registry, NOON)
    for hour in range(1, 5):
        asked = [processes.submit(trigger_due_at, settings, NOON + hours(hour)) for _ in range(3)]
        assert sum(one.result(120) for one in asked) == 1
    assert registry.counts() == {("hourly", "queued"): 4}


def test_a_paused_schedule_lets_its_times_pass(registry: RunRegistry) -> None:
    due(registry, datetime.now(UTC))  # the real clock counts here, so that "nightly" may come due as well
    assert set_paused(registry, "hourly", paused=True).paused
    assert "hourly" not in due(registry, datetime.now(UTC) + hours(1))
    resumed = set_paused(registry, "hourly", paused=False)
    assert not resumed.paused and resumed.next_due_at and resumed.next_due_at > datetime.now(UTC)
    assert "hourly" not in due(registry, datetime.now(UTC)), "what came due meanwhile is not made up for"
    assert "hourly" in due(registry, datetime.now(UTC) + hours(1))
    with pytest.raises(UsageError, match="no schedule"):
        set_paused(registry, "a", paused=True)
    with pytest.raises(UsageError, match="nightly, hourly"):
        set_paused(registry, "unknown", paused=False)


def test_a_full_queue_delays_a_due_time_and_does_not_lose_it(tmp_path: Path) -> None:
    registry = registry_at(settings_for(tmp_path, max_queued_runs=1))
    due(registry, NOON)
    assert due(registry, NOON + hours(1)) == ["hourly"]
    assert due(registry, NOON + hours(2)) == []
    run = Claims(registry).take("w", "s")
    assert run is not None and run.state == State.running
    assert due(registry, NOON + hours(2.1)) == ["hourly"]
