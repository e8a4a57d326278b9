"""What goes to Kafka: one record, and the JSON line that stands for it in a file."""

import base64
from typing import NamedTuple

import orjson

from lakehouse.errors import UsageError
from producer.contract import TOPIC_OF_TYPE

FALLBACK_TOPIC = "shop.page_views"
"""Where a line goes that does not say: quarantine then names what is wrong with it."""


class Record(NamedTuple):
    """One Kafka record to be sent.

    `due` is its moment in simulated time (epoch seconds). `defect` names the deliberate oddity it carries and
    `reason` the code it must be refused with; both are for tests and never leave the sender's machine.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    due: float
    event_id: str | None = None
    defect: str | None = None
    reason: str | None = None


_WRAPPER = {"_topic", "_key", "_value_base64"}


def to_line(record: Record) -> bytes:
    """The record as one line of a file, without the line's end.

    A well-formed event is its own JSON text; its topic follows from its type, its key is its user. Any other record
    is `{"_topic": …, "_key": …, "_value_base64": …}`, in which a null value is a tombstone.
    """
    if record.value is not None and _is_plain(record):
        return record.value
    wrapper = {
        "_topic": record.topic,
        "_key": None if record.key is None else record.key.decode("utf-8"),
        "_value_base64": None if record.value is None else base64.b64encode(record.value).decode("ascii"),
    }
    return orjson.dumps(wrapper)


def from_line(line: bytes) -> Record:
    """The record that a line of a file stands for; what is no event at all is published as it is."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict):
        return Record(FALLBACK_TOPIC, None, line, 0.0)
    if "_topic" in event and event.keys() <= _WRAPPER:
        return _unwrap(event)
    user, event_id = event.get("user_id"), event.get("event_id")
    return Record(
        topic=TOPIC_OF_TYPE.get(str(event.get("event_type")), FALLBACK_TOPIC),
        key=user.encode("utf-8") if isinstance(user, str) else None,
        value=line,
        due=0.0,
        event_id=event_id if isinstance(event_id, str) else None,
    )


def _is_plain(record: Record) -> bool:
    """Whether reading the value back as a line gives the same record."""
    value = record.value
    if value is None or b"\n" in value or b"\r" in value or value != value.strip():
        return False
    back = from_line(value)
    return back.topic == record.topic and back.key == record.key and record.reason is None


def _unwrap(event: dict[str, object]) -> Record:
    topic, key, text = event["_topic"], event.get("_key"), event.get("_value_base64")
    if not isinstance(topic, str) or not isinstance(key, str | None) or not isinstance(text, str | None):
        raise UsageError("A line with _topic must hold texts in _topic, _key and _value_base64 (or null).")
    try:
        value = None if text is None else base64.b64decode(text, validate=True)
    except ValueError:
        raise UsageError("A line with _topic must hold valid base64 in _value_base64.") from None
    return Record(topic, None if key is None else key.encode("utf-8"), value, 0.0)
