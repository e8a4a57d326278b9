"""The audit trail: who did what, from where, and how it ended. Rows are only ever added, and kept 400 days."""

from __future__ import annotations

from datetime import UTC, datetime

from lakehouse.runs.database import Database
from lakehouse.runs.models import AuditRow


def note(
    database: Database,
    action: str,
    target: str,
    outcome: str,
    *,
    caller: str | None,
    request_id: str | None = None,
    address: str | None = None,
) -> None:
    """Add a row. `action` is a verb and its object (`run.start`), `outcome` is `done` or a problem's kind."""
    row = AuditRow(
        at=datetime.now(UTC),
        request_id=request_id,
        caller=caller,
        action=action,
        target=target[:255],
        outcome=outcome,
        address=address,
    )
    with database.writing() as session:
        session.add(row)
