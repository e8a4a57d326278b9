"""A sender that knows the contract: events that are valid, and nearly valid ones, a field or two away at its limits.

`batches` is a strategy of hypothesis. A batch is made from one number: thousands of records at the cost of one draw.
"""

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from producer import contract
from producer.contract import Field
from producer.json_schema import field_schema

DAY = "2026-09-03"
"""The day of all timestamps that name a moment; send them with a Kafka time of the next day's noon."""
NUMBER = "number:"
"""Before a number that is to be written as it stands here, which `json.dumps` would not do."""
TIMES = [
    "10:15:30Z", "00:00:00z", "23:59:59.9+00:00", "10:15:30.123456789-08:00", "10:15:30.1234567890Z",
    "10:15:30.99999999999999999999+05:45", "10:15:30+23:59", "10:15:30-18:30", "10:15:30.5-23:00", "10:15:30-00:00",
]  # fmt: skip
BAD_TIMES = [
    "T10:15:30", "T24:00:00Z", "T10:60:00Z", "T10:15:60Z", "T10:15Z", "T10:15:30+24:00", "T10:15:30+0530",
    "T10:15:30+05", "T10:15:30 Z", "T10:15:30Z\n", "T10:15:30.Z", "T10:15:30,5Z", "_10:15:30Z", "",
    "T１０:15:30Z", "T10:15:30 UTC", "T10:15:30+05:60",
]  # fmt: skip
BAD_DAYS = ["2026-02-29", "2026-02-30", "2026-04-31", "2026-13-01", "2026-00-10", "2026-9-3", "26-09-03", "+2026-09-03"]
BLANKS = [
    "",
    " ",
    "   ",
    "\t",
    "\u00a0",
    "\u200b",
    "\u200e\u200f",
    "\ufeff",
    "\u2003 \u3000",
    "\u2066\u2069",
    "\x1f",
    "\u00ad",
]
SHORT = [
    "a", "0", "-", "~", " u1", "u1 ", "u 1", "u1\u200b", "\u200fu1", "Caf\u00e9", "Cafe\u0301", "שלום", "日本",
    "🎁", "\u0301", "null", "a\nb", "\\", '"', "'", "\x7fa", "\u2800",
]  # fmt: skip
COUNTRIES = ["DE", "de", "De", " de ", "DEU", "UK", "uk", "EL", "GB", "ß", "D", "Deutschland", "ДЕ"]
NO_TEXTS = [0, 1.5, True, [], ["a"], {}, {"a": 1}]
WHOLE = ["1", "2.0", "2.00", "1e2", "1.0E+1", "20e-1", "10000", "10000.0", "3.0000000000"]
NOT_WHOLE = ["2.5", "1e-1", "9999.9", "0.999999", "1e300", "-1e300", "123456789012345678901234567890", "-1", "-0.5"]
AMOUNTS = [
    "0", "0.0", "-0.0", "19.9", "12", "1e2", "0.000001", "123456.789", "99999999.99",
    "0.0000000005", "4.9e-10", "999999999999.999999999", "19.989999999999998", "123456789012.1234567895",
]  # fmt: skip
BAD_AMOUNTS = ["-1", "-0.01", "-1e9"]


def _numbers(texts: list[str]) -> list[str]:
    return [NUMBER + text for text in texts]


def _values(field: Field) -> tuple[list[Any], list[Any]]:
    """Values that a field may hold, and others close to them."""
    limits = field_schema(field)
    match field.kind:
        case "identifier" | "text":
            most = limits["maxLength"]
            fitting = [*SHORT, "a" * most, "🎁" * most, *(COUNTRIES if field.name == "country" else [])]
            return fitting, [*BLANKS, "a" * (most + 1), "🎁" * (most + 1), *NO_TEXTS]
        case "timestamp":
            good = [f"{DAY}{between}{time}" for between in "Tt " for time in TIMES]
            return good, [*(DAY + time for time in BAD_TIMES), *(day + "T10:15:30Z" for day in BAD_DAYS), *NO_TEXTS]
        case "choice":
            return list(field.choices), ["Approved", "approved ", "", *NO_TEXTS]
        case "version":
            return _numbers(["1", "1.0", "1e0"]), [*_numbers(["0", "2", "1.5", "-1", "1e300"]), "1", True, [], {}]
        case "amount":
            return _numbers(AMOUNTS), [*_numbers(_around(limits, "maximum") + BAD_AMOUNTS), "1", "12,50", True, [], {}]
        case "quantity" | "count":
            near = _around(limits, "minimum") + _around(limits, "maximum")
            return _numbers(WHOLE), [*_numbers([*near, *NOT_WHOLE]), "1", True, [], {}]
    return [], ["", 1, True, {}, [[]], [None], ["a"]]


def _around(limits: dict[str, Any], name: str) -> list[str]:
    """A limit and its neighbours; nothing where there is none."""
    return [str(limits[name] + step) for step in (-1, 0, 1)] if name in limits else []


_OF_FIELD = {field.path: _values(field) for field in contract.FIELDS}
_OF_LINE = {field.name: _values(field) for field in contract.PRODUCT_LINE}


def _event(chance: random.Random, number: int) -> dict[str, Any]:
    """A valid event."""
    declared = chance.choice(contract.EVENT_TYPES)
    event: dict[str, Any] = {"event_id": f"e{number}", "event_type": declared.name, "user_id": f"u{number % 97}"}
    event["timestamp"] = chance.choice(_OF_FIELD["timestamp"][0])
    names = {*declared.required, *(name for name in declared.fields if chance.random() < 0.5)}
    event["data"] = {name: chance.choice(_OF_FIELD[f"data.{name}"][0] or [[]]) for name in sorted(names)}
    if "products" in event["data"]:
        event["data"]["products"] = [_line(chance, 0.0) for _ in range(chance.randrange(3))]
    if chance.random() < 0.5:
        fields = [field for field in contract.CONTEXT if chance.random() < 0.5]
        event["context"] = {field.name: chance.choice(_OF_FIELD[field.path][0]) for field in fields}
    if chance.random() < 0.1:
        event["schema_version"] = chance.choice(_OF_FIELD["schema_version"][0])
    return event


def _line(chance: random.Random, wrong: float) -> dict[str, Any]:
    return {
        name: chance.choice(near if chance.random() < wrong else fitting)
        for name, (fitting, near) in _OF_LINE.items()
        if chance.random() < 0.8
    }


def _change(chance: random.Random, event: dict[str, Any]) -> None:
    """Set one field to a value at a limit, to null, or take it away; or add one that is not known."""
    field = chance.choice(contract.FIELDS)
    place = event if field.place == "envelope" else event.get(field.place)
    if not isinstance(place, dict):
        event[field.place] = chance.choice([None, {}, [], "", 1])
        return
    name = field.name if chance.random() < 0.5 or not place else chance.choice(sorted(place))
    what = chance.random()
    if what < 0.15:
        place.pop(name, None)
    elif what < 0.25:
        place[name] = None
    elif what < 0.3:
        place[chance.choice(["colour", name.upper(), name + " ", "ÿ"])] = chance.choice([1, "x", None, {"a": [1]}])
    elif name in ("data", "context"):
        place[name] = chance.choice([None, {}, [], "", 1])
    elif name == "products" and chance.random() < 0.8:
        place[name] = [_line(chance, 0.3) for _ in range(chance.randrange(1, 4))]
    else:
        path = name if place is event else f"{field.place}.{name}"
        fitting, near = _OF_FIELD.get(path, (SHORT, NO_TEXTS))
        place[name] = chance.choice(near if chance.random() < 0.7 or not fitting else fitting)


@dataclass(frozen=True)
class Batch:
    """Values of records that one number makes."""

    seed: int
    count: int

    def values(self) -> list[bytes]:
        """The values; some two thirds are valid."""
        chance = random.Random(self.seed)
        return [_value(chance, number) for number in range(self.count)]


def _value(chance: random.Random, number: int) -> bytes:
    event = _event(chance, number)
    for _ in range(chance.choice([0, 1, 1, 2])):
        _change(chance, event)
    text = json.dumps(event, ensure_ascii=chance.random() < 0.5)
    return re.sub(rf'"{NUMBER}([^"]*)"', r"\1", text).encode()


def batches(count: int) -> st.SearchStrategy[Batch]:
    """A strategy of batches of `count` records."""
    return st.builds(Batch, st.integers(0, 2**32), st.just(count))
