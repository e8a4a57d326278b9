"""The contract's checks once more, in plain Python over `json`, to compare Spark's answers with."""

import json
import re
import unicodedata
from datetime import datetime, timedelta
from typing import Any

from producer import contract
from producer.contract import (
    EVENT_TYPES,
    MAX_IDENTIFIER_LENGTH,
    MAX_QUANTITY,
    MAX_TEXT_LENGTH,
    REQUIRED_ENVELOPE,
    TOPIC_OF_TYPE,
    Field,
)

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)
UNSEEN = {"Zs", "Zl", "Zp", "Cc", "Cf"}
REQUIRED_DATA = {event_type.name: event_type.required for event_type in EVENT_TYPES}
LINE = {
    "product_id": Field("data", "product_id", "identifier", ""),
    "quantity": Field("data", "quantity", "quantity", ""),
    "price": Field("data", "price", "amount", ""),
}


def problems(value: bytes | None, topic: str, kafka_time: datetime, key: bytes | None = None) -> set[str]:
    """Reason codes that may be given for a record; empty when it is valid."""
    if value is None:
        return {"tombstone"}
    if len(value) > 1024 * 1024:
        return {"too_large"}
    if (len(value) >= 5 and value[0] == 0) or (len(value) >= 18 and value[:2] in (b"\3\0", b"\3\5")):
        return {"schema_registry_prefix"}
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return {"invalid_utf8"}
    if not text.strip(" \t\n\r\x0b\x0c"):
        return {"empty_value"}
    try:
        event = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return {"not_json", "bad_text"} if re.search(r"\\u[dD][89a-fA-F]", text) else {"not_json"}
    found = {"bad_text"} if any(map(_is_bad_text, _texts(event))) else set()
    if not isinstance(event, dict):
        return found | {"not_an_object"}
    user = event.get("user_id")
    if key is not None and isinstance(user, str) and key != user.encode("utf-8", "surrogatepass"):
        found.add("wrong_key")
    return found | _problems_of(event, topic, kafka_time)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *_texts(each))]
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and value != "" and all(unicodedata.category(letter) in UNSEEN for letter in value)


def _is_bad_text(text: str) -> bool:
    return "\x00" in text or any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)


def _problems_of(event: dict[str, Any], topic: str, kafka_time: datetime) -> set[str]:
    found: set[str] = set()
    places: dict[str, Any] = {"envelope": event}
    for place in ("context", "data"):
        inner = event.get(place)
        if inner is not None and not isinstance(inner, dict):
            found.add("wrong_type")
        places[place] = inner if isinstance(inner, dict) else {}
    version = event.get("schema_version")
    stated = max(version, 1) if isinstance(version, int) else 1
    for field in contract.FIELDS:
        if field.since <= stated:
            found |= _problems_in(field, places[field.place].get(field.name))
    if _is_blank(event.get("event_id")) or _is_blank(event.get("user_id")):
        found.add("missing_field")
    needed = [event.get(name) for name in REQUIRED_ENVELOPE]
    event_type = event.get("event_type")
    if isinstance(event_type, str):
        asked = REQUIRED_DATA.get(event_type, ())
        needed += [places["data"].get(name) for name in asked]
        if any(_is_blank(places["data"].get(name)) for name in asked if name.endswith("_id")):
            found.add("missing_field")
        if event_type not in TOPIC_OF_TYPE:
            found.add("unknown_type")
        elif TOPIC_OF_TYPE[event_type] != topic:
            found.add("wrong_topic")
    if None in needed:
        found.add("missing_field")
    return found | _time_problems(event.get("timestamp"), kafka_time)


def _problems_in(field: Field, value: Any) -> set[str]:
    if value is None:
        return set()
    match field.kind:
        case "amount":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return {"wrong_type"}
            return set() if 0 <= value <= 10**12 else {"out_of_range"}
        case "quantity" | "count" | "version":
            return _integer_problems(field, value)
        case "products":
            if not isinstance(value, list) or not all(isinstance(line, dict) for line in value):
                return {"wrong_type"}
            return {p for line in value for name, each in LINE.items() for p in _problems_in(each, line.get(name))}
    if not isinstance(value, str):
        return {"wrong_type"}
    if field.kind == "choice":
        return set() if value in field.choices else {"out_of_range"}
    if field.kind == "identifier":
        return set() if 1 <= len(value) <= MAX_IDENTIFIER_LENGTH else {"bad_length"}
    return {"bad_length"} if field.kind == "text" and len(value) > MAX_TEXT_LENGTH else set()


def _integer_problems(field: Field, value: Any) -> set[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {"wrong_type"}
    if value % 1:
        return {"wrong_type"}
    if field.kind == "version":
        return set() if value in contract.SUPPORTED_VERSIONS else {"unknown_version", "wrong_type"}
    lowest, highest = (1, MAX_QUANTITY) if field.kind == "quantity" else (0, 2**53 - 1)
    if lowest <= value <= highest:
        return set()
    return {"out_of_range"} if abs(value) < 2**63 else {"out_of_range", "wrong_type"}


def _time_problems(timestamp: Any, kafka_time: datetime) -> set[str]:
    if not isinstance(timestamp, str):
        return set()
    if not RFC3339.fullmatch(timestamp):
        return {"bad_timestamp"}
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", timestamp.upper()))
    except ValueError:
        return {"bad_timestamp"}
    if moment - kafka_time > timedelta(minutes=5):
        return {"timestamp_in_future"}
    return {"timestamp_too_old"} if kafka_time - moment > timedelta(days=400) else set()
