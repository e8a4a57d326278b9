"""Typed views of silver.events, one per event type, as data. Each follows from the event contract."""

from __future__ import annotations

from dataclasses import dataclass

from producer.contract import CONTEXT, ENVELOPE, EVENT_TYPES, EventType, fields_of

SOURCE = "silver.events"
PARTITION_COLUMN = "event_date"


@dataclass(frozen=True)
class TypedView:
    """`silver.<name>`: the events of one type, with only the columns that this type can fill."""

    name: str
    event_type: str
    columns: tuple[str, ...]
    grain: str

    @property
    def full_name(self) -> str:
        """`silver.<name>`, as SQL spells it."""
        return f"silver.{self.name}"

    @property
    def sql(self) -> str:
        """The view's SELECT over silver.events."""
        columns = ", ".join(f'"{column}"' for column in self.columns)
        return f"SELECT {columns} FROM {SOURCE} WHERE event_type = '{self.event_type}'"  # noqa: S608


def plural(event_type: str) -> str:
    """`purchase` → `purchases`, `search` → `searches`, `add_to_cart` → `adds_to_cart`."""
    verb, joint, rest = event_type.partition("_to_")
    return verb + ("es" if verb.endswith("ch") else "s") + joint + rest


def typed_view(event_type: EventType) -> TypedView:
    """The view of one event type: envelope, context, the type's own fields, and the day to filter by."""
    fields = (*ENVELOPE, *CONTEXT, *fields_of(event_type))
    columns = (*(field.silver_column for field in fields), PARTITION_COLUMN)
    name = plural(event_type.name)
    return TypedView(name, event_type.name, columns, f"one accepted {event_type.name}")


VIEWS = {view.full_name: view for view in map(typed_view, EVENT_TYPES)}
