"""Parameter types that several jobs share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, model_validator

Say = Callable[[str], None]
"""Called by a job at the start of each step, with what it is about to do."""


def today(timezone: str = "UTC") -> date:
    """The running day in a time zone."""
    return datetime.now(ZoneInfo(timezone)).date()


class DayRange(BaseModel, extra="forbid", frozen=True):
    """A range of UTC days, both included."""

    from_date: date = Field(default_factory=today, description="First day (UTC) of the range.")
    to_date: date = Field(default_factory=today, description="Last day (UTC) of the range, included.")

    @model_validator(mode="after")
    def _in_order(self) -> DayRange:
        if self.to_date < self.from_date:
            raise ValueError("to_date is before from_date")
        if (self.to_date - self.from_date).days > 3660:
            raise ValueError("the range is longer than ten years")
        return self
