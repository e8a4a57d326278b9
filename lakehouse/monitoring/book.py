"""What the rules say and what has been told, in the registry's database, where every process and every restart find it.

A change of a rule's state and the messages about it are one transaction, and such transactions come one after the
other: however many processes look, a change is written down once. A message is taken by one process at a time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, exists, func, select, update
from sqlalchemy.orm import aliased

from lakehouse.monitoring.figures import Figure
from lakehouse.monitoring.rules import RULES, Rule
from lakehouse.monitoring.sinks import Message
from lakehouse.runs import claims
from lakehouse.runs.database import Database, RegistryAway
from lakehouse.runs.models import AlertRow, NoticeRow
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings

TAKEN_SECONDS = 60
"""A message whose process has died is sent again after this. Longer than any sink takes for an attempt."""
LONGEST_PAUSE_SECONDS = 300.0
GIVE_UP = timedelta(hours=24)
KEPT = timedelta(days=30)
MOST_DETAIL = 1_000


@dataclass(frozen=True)
class Alert:
    """A rule as it stands: `since` is when it came to fire, or ceased to. Times are UTC."""

    rule: str
    is_firing: bool
    since: datetime
    value: float
    detail: str
    looked_at: datetime


@dataclass(frozen=True)
class Notice:
    """A message to be sent, taken by this process. `attempts` counts this one."""

    seq: int
    message: Message
    created_at: datetime
    attempts: int


def firing(settings: Settings) -> list[Alert]:
    """What fires now, for a look from outside; nothing when the registry has not been made, or does not answer."""
    if not settings.registry_file.exists():
        return []
    try:
        database = RunRegistry.open(settings).database
        found = [alert for alert in Book(settings, database).alerts().values() if alert.is_firing]
        database.close()
    except RegistryAway:
        return []
    return found


class Book:
    """The alerts of one lake. Every method raises RegistryAway when the database does not answer."""

    def __init__(self, settings: Settings, database: Database, rules: Sequence[Rule] = RULES) -> None:
        """Nothing is opened; the tables have to be there."""
        self._settings, self._database, self._rules = settings, database, rules

    def note(self, figures: Mapping[str, Figure], sinks: Iterable[str], at: datetime) -> list[Message]:
        """Take note of what was seen at a moment; the changes that this call made, each kept as a message per sink."""
        changes: list[Message] = []
        with self._database.writing() as session:
            known = {row.rule: row for row in session.scalars(select(AlertRow))}
            for rule in self._rules:
                row = known.pop(rule.name, None) or AlertRow(rule=rule.name, is_firing=False, since=at)
                figure = figures.get(rule.figure)
                if figure is None or figure.value is None:
                    continue
                if _moves(row, figure.value > rule.limit_in(self._settings), rule.holds_seconds, at):
                    changes.append(self._message(rule, figure, row))
                row.value, row.detail, row.looked_at = figure.value, figure.detail, at
                session.add(row)
            for row in known.values():  # rules that are no more
                session.delete(row)
            session.add_all(_notices(changes, list(sinks), at))
            session.execute(delete(NoticeRow).where(NoticeRow.created_at < at - KEPT))
        return changes

    def _message(self, rule: Rule, figure: Figure, row: AlertRow) -> Message:
        state = "firing" if row.is_firing else "resolved"
        limit = rule.limit_in(self._settings)
        return message(rule, state, self._settings, row.since, figure.detail[:MOST_DETAIL], figure.value, limit)

    def alerts(self) -> dict[str, Alert]:
        """Every rule that has been looked at, by its name."""
        with self._database.reading() as session:
            rows = list(session.scalars(select(AlertRow).order_by(AlertRow.rule)))
        return {
            row.rule: Alert(row.rule, row.is_firing, row.since, row.value, row.detail, row.looked_at) for row in rows
        }

    def take(self, sink: str, at: datetime) -> Notice | None:
        """The oldest message that a sink shall send now, for this process alone; None when there is none.

        Of one rule the older message goes first, so that nobody hears of an end before the beginning.
        """
        with self._database.reading() as session:
            if session.scalar(_due(sink, at).limit(1)) is None:
                return None
        with self._database.writing() as session:
            row = session.scalar(_due(sink, at).limit(1))
            if row is None:
                return None
            row.attempts += 1
            row.not_before = at + timedelta(seconds=TAKEN_SECONDS)
            return Notice(row.seq, row.message, row.created_at, row.attempts)

    def sent(self, notice: Notice, at: datetime) -> None:
        """The message has arrived."""
        self._settle(notice, sent_at=at, error=None)

    def not_sent(self, notice: Notice, error: str, at: datetime) -> datetime | None:
        """The message has not arrived; when it is tried again, None when it was given up."""
        if at - notice.created_at >= GIVE_UP:
            self._settle(notice, given_up_at=at, error=error)
            return None
        again = at + timedelta(seconds=pause_seconds(notice.attempts))
        self._settle(notice, not_before=again, error=error)
        return again

    def _settle(self, notice: Notice, **values: object) -> None:
        is_ours = NoticeRow.seq == notice.seq, NoticeRow.attempts == notice.attempts
        with self._database.writing() as session:
            session.execute(update(NoticeRow).where(*is_ours).values(values))

    def waiting(self) -> dict[str, int]:
        """How many messages wait to be sent, per sink."""
        query = select(NoticeRow.sink, func.count()).where(*_IS_OPEN).group_by(NoticeRow.sink)
        with self._database.reading() as session:
            return {row[0]: row[1] for row in session.execute(query)}


def message(
    rule: Rule, state: str, settings: Settings, at: datetime, detail: str, value: float | None, limit: float
) -> Message:
    """What is told about a rule, as JSON. `state` is firing, resolved or test; `text` is all of it as a sentence."""
    said = f"{rule.means} ({detail})" if detail else rule.means
    return {
        "id": str(uuid.uuid4()),
        "lake": settings.bucket,
        "alert": rule.name,
        "severity": rule.severity,
        "state": state,
        "at": at.isoformat(timespec="seconds"),
        "value": value,
        "limit": limit,
        "means": rule.means,
        "detail": detail,
        "what_to_do": rule.what_to_do,
        "text": f"[{settings.bucket}] {rule.severity} {rule.name} {state}: {said} {rule.what_to_do}",
    }


def pause_seconds(attempts: int) -> float:
    """How long to wait after so many attempts that failed."""
    return claims.pause_seconds(attempts, LONGEST_PAUSE_SECONDS)


def _moves(row: AlertRow, is_over: bool, holds_seconds: float, at: datetime) -> bool:
    """Whether the rule comes to fire now, or ceases to; the row is changed accordingly."""
    if is_over == row.is_firing:
        row.differs_since = None
        return False
    row.differs_since = row.differs_since or at
    if (at - row.differs_since).total_seconds() < holds_seconds:
        return False
    row.is_firing, row.since, row.differs_since = is_over, at, None
    return True


_IS_OPEN = (NoticeRow.sent_at.is_(None), NoticeRow.given_up_at.is_(None))


def _due(sink: str, at: datetime) -> Select[NoticeRow]:
    older = aliased(NoticeRow)
    is_open = older.sent_at.is_(None), older.given_up_at.is_(None)
    has_older = exists().where(
        older.sink == NoticeRow.sink, older.rule == NoticeRow.rule, older.seq < NoticeRow.seq, *is_open
    )
    is_due = NoticeRow.sink == sink, NoticeRow.not_before <= at, *_IS_OPEN
    return select(NoticeRow).where(*is_due, ~has_older).order_by(NoticeRow.seq)


def _notices(changes: list[Message], sinks: list[str], at: datetime) -> list[NoticeRow]:
    return [
        NoticeRow(rule=change["alert"], sink=sink, message=change, created_at=at, not_before=at)
        for change in changes
        for sink in sinks
    ]
