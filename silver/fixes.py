"""Small declared changes to a refused record before it is judged again.

Steps are separated by `;`: `rename data.total=data.total_amount`, `cast data.price=number`,
`default data.currency="EUR"`, `route` (to the topic of its type), `rekey` (by its user_id).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from producer.contract import TOPIC_OF_TYPE

Event = dict[str, Any]
_LARGEST_SECONDS = 100_000_000_000
"""Epoch numbers beyond it are milliseconds: as seconds they would lie after the year 5000."""


@dataclass(frozen=True)
class Refused:
    """What of a record a fix may change."""

    topic: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Step:
    """One step of a fix: what to do, with which field, and how."""

    verb: str
    path: str = ""
    argument: Any = None


def parse(text: str) -> tuple[Step, ...]:
    """The steps that `text` declares. Raises ValueError that says what is wrong."""
    return tuple(_step(part.strip()) for part in text.split(";") if part.strip()) or _fail("the fix is empty")


def apply(steps: tuple[Step, ...], record: Refused) -> Refused:
    """The record with every step applied. What is not one well-formed JSON object stays as it is."""
    event = _event(record.value)
    if event is None:
        return record
    changed = json.dumps(event)
    for step in steps:
        if step.verb == "route":
            record = replace(record, topic=TOPIC_OF_TYPE.get(str(event.get("event_type")), record.topic))
        elif step.verb == "rekey":
            user = event.get("user_id")
            record = replace(record, key=user.encode("utf-8", "replace")) if isinstance(user, str) else record
        else:
            _VERBS[step.verb](event, step)
    if json.dumps(event) == changed:
        return record
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return replace(record, value=text.encode("utf-8", "surrogatepass"))


def _step(text: str) -> Step:
    verb, _, rest = text.partition(" ")
    if verb in ("route", "rekey"):
        return Step(verb) if not rest else _fail(f"{verb} takes nothing, not {rest!r}")
    path, equals, argument = (part.strip() for part in rest.partition("="))
    if verb not in _VERBS or not path or not equals or not argument:
        _fail(f"{text!r} is no step; write rename PATH=PATH, cast PATH=KIND, default PATH=JSON, route or rekey")
    if path.count(".") > 1 or (verb == "rename" and argument.count(".") > 1):
        _fail(f"a path is FIELD, context.FIELD or data.FIELD, not {text!r}")
    if verb == "cast" and argument not in _CASTS:
        _fail(f"a cast is to {', '.join(_CASTS)}, not {argument!r}")
    return Step(verb, path, _json(argument) if verb == "default" else argument)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fail(reason: str) -> Any:
    raise ValueError(reason)


def _event(value: bytes | None) -> Event | None:
    """The event, unless reading it would already repair it: a repair has to be declared."""
    try:
        event = json.loads((value or b"").decode("utf-8"), object_pairs_hook=_unique, parse_constant=_fail)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> Event:
    return dict(pairs) if len(dict(pairs)) == len(pairs) else _fail("a key comes twice")


def _place(event: Event, path: str, *, make: bool = False) -> tuple[Event | None, str]:
    """The object that holds the field at `path`, and the field's name in it."""
    outer, _, name = path.rpartition(".")
    if not outer:
        return event, name
    if make and event.get(outer) is None:
        event[outer] = {}
    held = event.get(outer)
    return (held if isinstance(held, dict) else None), name


def _rename(event: Event, step: Step) -> None:
    source, name = _place(event, step.path)
    if source is None or name not in source:
        return
    target, new = _place(event, step.argument, make=True)
    if target is not None and target.get(new) is None:
        target[new] = source.pop(name)


def _default(event: Event, step: Step) -> None:
    target, name = _place(event, step.path, make=True)
    if target is not None and target.get(name) is None:
        target[name] = step.argument


def _cast(event: Event, step: Step) -> None:
    held, name = _place(event, step.path)
    if held is None or held.get(name) is None:
        return
    try:
        held[name] = _CASTS[step.argument](held[name])
    except (TypeError, ValueError, OverflowError, OSError):
        return  # it stays what it is, and is refused again for it


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: Any) -> float | int:
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _integer(value: Any) -> int:
    number = _number(value)
    return number if isinstance(number, int) else _fail("not a whole number")


def _timestamp(value: Any) -> str:
    seconds = float(value)
    seconds = seconds / 1000 if abs(seconds) > _LARGEST_SECONDS else seconds
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_CASTS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "number": _number,
    "integer": _integer,
    "timestamp": _timestamp,
}
_VERBS: dict[str, Callable[[Event, Step], None]] = {"rename": _rename, "cast": _cast, "default": _default}
