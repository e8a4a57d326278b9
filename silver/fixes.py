"""Small declared changes to a refused record before it is judged again.

Steps are separated by `;`: `rename data.total=data.total_amount`, `cast data.price=number`,
`cast timestamp=timestamp Europe/Berlin`, `cast timestamp=local Europe/Berlin` (sent as UTC by mistake),
`default data.currency="EUR"`, `identify` (an event without an id by its place in Kafka), `route` (to the topic of its
type), `rekey` (by its user_id), `retime seconds` (its Kafka time counts seconds), `retime arrival` (its Kafka time is
when it was read), `strip` (of what a serializer put before or around the JSON), `decode cp1252` (no UTF-8), `nan` (no
numbers, but written as some), `clean` (characters that no text may have), `cast data=json` (a text that holds an object
or a list). `data.products.price` is the price of every line.
"""

import json
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from producer.contract import TOPIC_OF_TYPE
from silver import numerals

Event = dict[str, Any]
_MARK = "\0#"
_MARKED = re.compile(r'"\\u0000#([^"]*)"')
_MOST_DIGITS = 18
"""The contract's whole numbers are shorter, and few characters can write a longer one: 1e999999999."""


class _Exact(str):
    """A number with decimals, spelled as it came (`_MARK` before it): as a double it would lose digits."""

    __slots__ = ()


_PREFIX = re.compile(rb"\A(?:\0(?:\0{4})?.{4}|\x03[\0\x05].{16}|\xef\xbb\xbf)", re.DOTALL)
"""A schema's number as Confluent's registry (4 bytes) or Apicurio's (8 bytes, the first of them 0) has it, or its id as
that of AWS Glue, plain or before packed bytes; or a byte order mark."""
_ZLIB_OR_GZIP = 47
_MOST_UNPACKED = 1024 * 1024
"""Bytes, as many as a record may have: few can stand for many."""
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000|\0")
_LINES = "data.products"
_MOST_OPENED = 100
"""Brackets in the JSON of a default: Python's reader fails at some thousand, its writer earlier."""


@dataclass(frozen=True)
class Refused:
    """The parts of a record that a fix may change."""

    topic: str
    key: bytes | None
    value: bytes | None
    kafka_timestamp: datetime | None = None


@dataclass(frozen=True)
class Step:
    """One step of a fix: what to do, with which field, and how."""

    verb: str
    path: str = ""
    argument: Any = None


def parse(text: str) -> tuple[Step, ...]:
    """The steps that `text` declares. Raises ValueError that says what is wrong."""
    return tuple(_step(part.strip()) for part in text.split(";") if part.strip()) or _fail("the fix is empty")


def apply(steps: tuple[Step, ...], record: Refused, arrived: datetime | None = None, place: str = "") -> list[Refused]:
    """The record with every step applied; the stream read it at its `place` when it `arrived`. Of a value that held
    several events, a record each. A value that is not one well-formed JSON object stays as it is."""
    values = [record.value]
    for step in steps:
        if read := _OF_BYTES.get(step.verb):
            with suppress(RecursionError):
                values = [part for value in values for part in (read(value, step) if value else [value])]
    places = [place, *(f"{place}.{number}" for number in range(2, len(values) + 1))]
    parts = zip(values, places, strict=True)
    return [_changed(steps, replace(record, value=value), arrived, part) for value, part in parts]


def _changed(steps: tuple[Step, ...], record: Refused, arrived: datetime | None, place: str) -> Refused:
    event = _json_of(record.value)
    if not isinstance(event, dict):
        return record
    changed = json.dumps(event)
    for step in steps:
        if step.verb == "route":
            record = replace(record, topic=TOPIC_OF_TYPE.get(str(event.get("event_type")), record.topic))
        elif step.verb == "rekey":
            user = event.get("user_id")
            record = replace(record, key=user.encode("utf-8", "replace")) if isinstance(user, str) else record
        elif step.verb == "identify":
            event["event_id"] = place if event.get("event_id") in (None, "") else event["event_id"]
        elif step.verb == "retime":
            record = replace(record, kafka_timestamp=_retimed(record.kafka_timestamp, step, arrived))
        elif step.verb in _VERBS:
            _VERBS[step.verb](event, step)
    with suppress(RecursionError):  # a field that was moved may be nested too deep where it is now
        record = record if json.dumps(event) == changed else replace(record, value=_bytes_of(event))
    return record


def _stripped(value: bytes, _: Step) -> list[bytes]:
    """The events of a value: without a prefix, unpacked, without the schema that Kafka Connect sends beside one, out of
    a list or of lines, and unquoted if texts."""
    value = _unpacked(_PREFIX.sub(b"", value))
    found = _json_of(value)
    if isinstance(found, dict):
        if found.keys() != {"schema", "payload"}:
            return [value]
        found = found["payload"]
    elif found is None:
        found = [_json_of(line) for line in value.splitlines() if line.strip()]
    events = found if isinstance(found, list) else [found]
    if not events or None in events:
        return [value]
    return [one.encode("utf-8", "surrogatepass") if type(one) is str else _bytes_of(one) for one in events]


def _unpacked(value: bytes) -> bytes:
    unpacking = zlib.decompressobj(_ZLIB_OR_GZIP)
    with suppress(zlib.error):
        found = unpacking.decompress(value, _MOST_UNPACKED)
        return found if unpacking.eof else value
    return value


def _decoded(value: bytes, step: Step) -> list[bytes]:
    """The text in UTF-8. What is UTF-8 already stays: in another encoding it would be another text."""
    with suppress(UnicodeError):
        if "\0" not in value.decode():
            return [value]
    with suppress(UnicodeError):
        return [str(value, step.argument).encode()]
    return [value]


def _without_nan(value: bytes, _: Step) -> list[bytes]:
    """The value with null where Python and pandas have written NaN or Infinity."""
    found = None if _json_of(value) is not None else _json_of(value, constant=lambda _: None)
    return [value if found is None else _bytes_of(found)]


def _cleaned(value: bytes, _: Step) -> list[bytes]:
    """The value without NULs, with other control characters escaped, and with U+FFFD for half a surrogate pair."""
    found = _json_of(_NUL.sub(rb"\1", value), strict=False)
    if found is None:
        return [value]
    return [
        _bytes_of(found)
        .decode("utf-8", "surrogatepass")
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
        .encode()
    ]


def _retimed(sent: datetime | None, step: Step, arrived: datetime | None) -> datetime | None:
    if step.argument == "arrival":
        return arrived or sent
    began = datetime(1970, 1, 1, tzinfo=sent.tzinfo if sent else None)
    try:  # what was taken for milliseconds
        return sent and began + (sent - began) // timedelta(milliseconds=1) * timedelta(seconds=1)
    except OverflowError:
        return sent


def _step(text: str) -> Step:
    verb, _, rest = text.partition(" ")
    if verb in ("identify", "route", "rekey", "strip", "nan", "clean"):
        return Step(verb) if not rest else _fail(f"{verb} takes nothing, not {rest!r}")
    if verb == "decode":
        try:
            "a".encode(rest)
        except LookupError:
            _fail(f"{rest!r} is no encoding of text, as cp1252 is")
        return Step(verb, argument=rest)
    if verb == "retime":
        return Step(verb, argument=rest) if rest in ("seconds", "arrival") else _fail("retime is by seconds or arrival")
    path, equals, argument = (part.strip() for part in rest.partition("="))
    if verb not in _VERBS or not path or not equals or not argument:
        _fail(f"{text!r} is no step; write {_STEPS}")
    outers = [each.rpartition(".")[0] for each in ((path, argument) if verb == "rename" else (path,))]
    if any("." in outer and set(outers) != {_LINES} for outer in outers):
        _fail(f"a path is FIELD, context.FIELD, data.FIELD or {_LINES}.FIELD (to the same, if renamed), not {text!r}")
    if verb == "cast":
        return Step(verb, path, _cast_to(argument))
    return Step(verb, path, _json(argument) if verb == "default" else argument)


def _cast_to(text: str) -> Callable[[Any], Any]:
    kind, _, zone = text.partition(" ")
    if kind == "timestamp" or (kind == "local" and zone):
        read, there = _TIMES[kind], numerals.zone_of(zone) if zone else None
        return lambda value: read(_spelled(value), there)
    if kind not in _CASTS or zone:
        _fail(f"a cast is to {', '.join(_CASTS)}, timestamp [ZONE] or local ZONE, as Europe/Berlin; not {text!r}")
    return _CASTS[kind]


def _json(text: str) -> Any:
    if text.count("[") + text.count("{") > _MOST_OPENED:
        _fail(f"a default opens at most {_MOST_OPENED} lists and objects")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fail(reason: str) -> Any:
    raise ValueError(reason)


def _bytes_of(found: Any) -> bytes:
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return _MARKED.sub(r"\1", text).encode("utf-8", "surrogatepass")


def _json_of(value: bytes | None, constant: Callable[[str], Any] = _fail, *, strict: bool = True) -> Any:
    """The value's JSON; None if merely reading it would repair it: a repair has to be declared."""
    if not value or _NUL.search(value):
        return None  # a NUL, which the contract refuses, would be taken for `_MARK`
    try:
        return json.loads(
            value.decode("utf-8"),
            strict=strict,
            object_pairs_hook=_unique,
            parse_constant=constant,
            parse_float=lambda text: _Exact(_MARK + text),
        )
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> Event:
    return dict(pairs) if len(dict(pairs)) == len(pairs) else _fail("a key comes twice")


def _places(event: Event, path: str, *, make: bool = False) -> tuple[list[Event], str]:
    """The objects that hold the field at `path`: one, or the lines of an order; and the field's name in them."""
    outer, _, name = path.rpartition(".")
    if not outer:
        return [event], name
    if outer == _LINES:
        data = event.get("data")
        lines = data.get("products") if isinstance(data, dict) else None
        return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else [], name
    if make and event.get(outer) is None:
        event[outer] = {}
    held = event.get(outer)
    return [held] if isinstance(held, dict) else [], name


def _rename(event: Event, step: Step) -> None:
    sources, name = _places(event, step.path)
    if not any(name in source for source in sources):
        return
    targets, new = _places(event, step.argument, make=True)
    for source, target in zip(sources, targets, strict=False):
        if name in source and target.get(new) is None:
            target[new] = source.pop(name)


def _default(event: Event, step: Step) -> None:
    targets, name = _places(event, step.path, make=True)
    for target in targets:
        if target.get(name) is None:
            target[name] = step.argument


def _cast(event: Event, step: Step) -> None:
    holders, name = _places(event, step.path)
    for held in holders:
        if held.get(name) is not None:
            with suppress(TypeError, ValueError, ArithmeticError):  # it stays as it is, and is refused again
                held[name] = step.argument(_bare(held[name]))


def _bare(value: Any) -> Any:
    """A value out of MongoDB's extended JSON: `{"$numberLong": "5"}`, `{"$date": …}`."""
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        (value,) = value.values()
    return value


def _spelled(value: Any) -> str:
    """A number or a text as it came; a number of JSON in JSON's spelling."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        _fail("neither a number nor a text")
    return str(value).removeprefix(_MARK) if isinstance(value, _Exact) else str(value)


def _text(value: Any) -> str:
    return _spelled(value) if isinstance(value, str) else _MARKED.sub(r"\1", json.dumps(value))


def _number(value: Any, read: Callable[[str], str] = numerals.plain_number) -> _Exact | int:
    is_number = isinstance(value, _Exact | int) and not isinstance(value, bool)
    return value if is_number else _Exact(_MARK + read(_spelled(value)))


def _integer(value: Any) -> int:
    number = Decimal(numerals.plain_number(_spelled(value)))
    is_whole = number.adjusted() < _MOST_DIGITS and number == number.to_integral_value()
    return int(number) if is_whole else _fail("not a whole number")


def _parsed(value: Any) -> Event | list[Any]:
    found = _json_of(value.encode()) if isinstance(value, str) else None
    return found if isinstance(found, dict | list) else _fail("neither an object nor a list")


_CASTS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "number": _number,
    "number_with_comma": partial(_number, read=numerals.number_with_comma),
    "integer": _integer,
    "json": _parsed,
}
_TIMES = {"timestamp": numerals.moment_of, "local": numerals.local_moment}
_STEPS = (
    "rename PATH=PATH, cast PATH=KIND, default PATH=JSON, identify, route, rekey, retime, strip, decode, nan or clean"
)
_OF_BYTES: dict[str, Callable[[bytes, Step], list[bytes]]] = {
    "strip": _stripped,
    "decode": _decoded,
    "nan": _without_nan,
    "clean": _cleaned,
}
"""Done first, whatever order they stand in."""
_VERBS: dict[str, Callable[[Event, Step], None]] = {"rename": _rename, "cast": _cast, "default": _default}
