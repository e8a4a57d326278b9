"""The audit trail: who did what, from where, and how it ended. Rows are only ever added, and kept 400 days."""

from __future__ import annotations

from lakehouse.runs.database import Database
from lakehouse.runs.models import AuditRow


def note(database: Database, action: str, target: str, outcome: str, **who: str | None) -> None:
    """Add a row. `action` is a verb and its object (`run.start`), `outcome` is `done` or a problem's kind; `who` are
    caller, request_id and address."""
    with database.writing() as session:
        session.add(AuditRow(action=action, target=target[:255], outcome=outcome, **who))
