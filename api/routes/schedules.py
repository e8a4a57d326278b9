"""Schedules: what runs by itself, and when; pausing and resuming."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from api.authentication import Admin, Reader, note
from api.models import ScheduleList
from api.openapi import guarded
from api.problems import Problem
from api.resources import Resources, Shared
from lakehouse.errors import UsageError
from lakehouse.runs import schedule
from lakehouse.runs.schedule import Schedule

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])
ScheduledJob = Annotated[str, Path(description="Name of the job.", examples=["cohort_retention"])]


@router.get("", summary="List the schedules", responses=guarded())
def list_schedules(_caller: Reader, shared: Shared) -> ScheduleList:
    """Every scheduled job with its last and next due time. A due time missed while nothing ran is made up for, but
    only the newest of them."""
    return ScheduleList(items=schedule.all_of(shared.registry))


@router.post("/{job}/pause", summary="Pause a schedule", responses=guarded("unknown-schedule"))
def pause_schedule(request: Request, _caller: Admin, job: ScheduledJob, shared: Shared) -> Schedule:
    """Due times pass without a run until it is resumed."""
    return _set_paused(request, job, shared, paused=True)


@router.post("/{job}/resume", summary="Resume a schedule", responses=guarded("unknown-schedule"))
def resume_schedule(request: Request, _caller: Admin, job: ScheduledJob, shared: Shared) -> Schedule:
    """From the next due time on it runs again; what was missed while paused is not made up for."""
    return _set_paused(request, job, shared, paused=False)


def _set_paused(request: Request, job: str, shared: Resources, *, paused: bool) -> Schedule:
    try:
        found = schedule.set_paused(shared.registry, job, paused=paused)
    except UsageError:
        raise Problem("unknown-schedule", f"There is no schedule of {job[:64]!r}.") from None
    note(request, "schedule.pause" if paused else "schedule.resume", job, "done")
    return found
