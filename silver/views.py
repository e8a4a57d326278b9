"""Views over silver.events as data: one per event type, each as the event contract says, and what a view is."""

from collections.abc import Mapping
from dataclasses import dataclass

from producer.contract import CONTEXT, ENVELOPE, EVENT_TYPES, EventType, fields_of

SOURCE = "silver.events"
PARTITION_COLUMN = "event_date"


@dataclass(frozen=True)
class View:
    """A SELECT over silver.events, in SQL `layer.name`. One row is `grain`; `columns` maps names to meanings."""

    full_name: str
    grain: str
    columns: Mapping[str, str]
    sql: str


def plural(event_type: str) -> str:
    """`purchase` → `purchases`, `search` → `searches`, `add_to_cart` → `adds_to_cart`."""
    verb, joint, rest = event_type.partition("_to_")
    return verb + ("es" if verb.endswith("ch") else "s") + joint + rest


def typed_view(event_type: EventType) -> View:
    """The view of one event type: envelope, context, the type's own fields, and the day to filter by."""
    fields = (*ENVELOPE, *CONTEXT, *fields_of(event_type))
    columns = {field.silver_column: field.description for field in fields} | {
        PARTITION_COLUMN: "Day of event_time, UTC"
    }
    listed = ", ".join(f'"{column}"' for column in columns)
    sql = f"SELECT {listed} FROM {SOURCE} WHERE event_type = '{event_type.name}'"  # noqa: S608
    return View(f"silver.{plural(event_type.name)}", f"one accepted {event_type.name}", columns, sql)


VIEWS = {view.full_name: view for view in map(typed_view, EVENT_TYPES)}
