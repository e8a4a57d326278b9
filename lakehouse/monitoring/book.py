"""What the rules say and who has been told, in the registry's database, where every restart finds it."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select

from lakehouse.monitoring.figures import Figure
from lakehouse.monitoring.rules import RULES, Rule
from lakehouse.monitoring.sinks import Message
from lakehouse.runs.database import Database, RegistryAway
from lakehouse.runs.models import Alert
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings

MOST_DETAIL = 1_000


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
        """The registry's tables have to be there."""
        self._settings, self._database, self._rules = settings, database, rules

    def note(self, figures: Mapping[str, Figure], sinks: Iterable[str], at: datetime) -> list[tuple[str, bool]]:
        """Take note of what was seen at a moment, and that the sinks are to hear of what has changed.

        Returns the rules that came to fire (True) or ceased to (False).
        """
        changes: list[tuple[str, bool]] = []
        waiting = dict.fromkeys(sinks, False)
        with self._database.writing() as session:
            known = {row.rule: row for row in session.scalars(select(Alert))}
            for rule in self._rules:
                row = known.pop(rule.name, None) or Alert(rule=rule.name, is_firing=False, since=at, told={})
                figure = figures.get(rule.figure)
                if figure is None or figure.value is None:
                    continue
                if _moves(row, figure.value > rule.limit_in(self._settings), rule.holds_seconds, at):
                    changes.append((rule.name, row.is_firing))
                    row.told = waiting
                row.value, row.detail, row.looked_at = figure.value, figure.detail, at
                session.add(row)
            for row in known.values():  # rules that are no more
                session.delete(row)
        return changes

    def alerts(self) -> dict[str, Alert]:
        """Every rule that has been looked at, by its name."""
        with self._database.reading() as session:
            return {row.rule: row for row in session.scalars(select(Alert).order_by(Alert.rule))}

    def untold(self, sink: str) -> list[Message]:
        """What a sink has not taken yet: of each rule the newest change."""
        alerts, rules = self.alerts(), {rule.name: rule for rule in self._rules}
        return [
            message(
                rules[alert.rule],
                "firing" if alert.is_firing else "resolved",
                self._settings,
                alert.since,
                alert.detail[:MOST_DETAIL],
                alert.value,
            )
            for alert in alerts.values()
            if alert.told.get(sink) is False and alert.rule in rules
        ]

    def taken(self, sink: str, sent: Message) -> None:
        """The sink has taken a message."""
        with self._database.writing() as session:
            row = session.get(Alert, sent["alert"])
            newest = row and ("firing" if row.is_firing else "resolved", row.since.isoformat(timespec="seconds"))
            if row is not None and newest == (sent["state"], sent["at"]):
                row.told = {**row.told, sink: True}

    def waiting(self) -> Counter[str]:
        """How many messages each sink has not taken yet."""
        told = [alert.told for alert in self.alerts().values()]
        return Counter(sink for each in told for sink, is_told in each.items() if not is_told)


def message(rule: Rule, state: str, settings: Settings, at: datetime, detail: str, value: float | None) -> Message:
    """What is told about a rule, as JSON: `state` is firing, resolved or test, `text` all of it as a sentence.

    A change has one `id`, however often it is sent.
    """
    said = f"{rule.means} ({detail})" if detail else rule.means
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{settings.bucket} {rule.name} {state} {at.isoformat()}")),
        "lake": settings.bucket,
        "alert": rule.name,
        "severity": rule.severity,
        "state": state,
        "at": at.isoformat(timespec="seconds"),
        "value": value,
        "limit": rule.limit_in(settings),
        "means": rule.means,
        "detail": detail,
        "what_to_do": rule.what_to_do,
        "text": f"[{settings.bucket}] {rule.severity} {rule.name} {state}: {said} {rule.what_to_do}",
    }


def _moves(row: Alert, is_over: bool, holds_seconds: float, at: datetime) -> bool:
    """Whether the rule comes to fire now, or ceases to; the row is changed accordingly."""
    if is_over == row.is_firing:
        row.differs_since = None
        return False
    row.differs_since = row.differs_since or at
    if (at - row.differs_since).total_seconds() < holds_seconds:
        return False
    row.is_firing, row.since, row.differs_since = is_over, at, None
    return True
