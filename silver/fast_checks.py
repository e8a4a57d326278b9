"""The fast path of the checks: one pattern parses a usual event, and cannot accept a wrong one.

Nearly all events are JSON objects of known fields with plain texts and plain numbers. One pattern over the text
recognises these and extracts the values, at the cost of parsing the JSON alone. It only ever accepts: everything else
is judged by `silver.checks`, which stays the authority.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import reduce
from itertools import count
from operator import and_, or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from producer import contract
from producer.contract import Field
from silver.events import AMOUNT, PRODUCT_LINES

_MARK = "\1"
"""Stands before each extracted value. No value contains it: it is a control character."""
# Characters that mean in JSON what they are. Java looks them up in a table when they are listed one by one.
_PLAIN = "".join(('[^"', r"\\", *(f"\\x{code:02x}" for code in range(32)), "]"))
# A text that begins with a visible character is not blank; any other takes the slow path.
_FIRST = contract.VISIBLE[:-1] + r'"\\\x00]'
_VALUES = {
    "identifier": f'"({_FIRST}{_PLAIN}{{0,{contract.MAX_IDENTIFIER_LENGTH - 1}}})"',
    "text": f'"({_FIRST}{_PLAIN}*)"',
    "country": '"((?!UK|EL)[A-Z]{2})"',
    "timestamp": r'"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2}))"',
    "amount": r"((?:0|[1-9]\d{0,9})(?:\.\d{1,17})?)",
    "quantity": rf"([1-9]\d{{0,{len(str(contract.MAX_QUANTITY)) - 2}}})",
    "count": r"(0|[1-9]\d{0,14})",
}
_KAFKA_BEGAN, _KAFKA_ENDS = "2011-01-01", "2100-01-01"
"""A Kafka time outside is wrong: seconds for milliseconds (1970), nothing set (1969), microseconds (null in bronze)."""
_READ_AS = {"amount": AMOUNT.simpleString(), "quantity": "int", "count": "bigint", "version": "int"}


def tried(records: DataFrame, most_ahead: timedelta, most_behind: timedelta) -> DataFrame:
    """`records` with `_fast`, from which `column` reads an accepted event; null where a record has to be judged.

    An event's time may be that much ahead of its record's, and that much behind it.
    """
    pattern, values = _pattern()
    # In a value of this length no field is too long.
    value = F.when(F.octet_length("value") <= contract.MAX_TEXT_LENGTH, F.col("value").cast("string"))
    taken = F.when(value.startswith("{"), F.regexp_replace(value, F.lit(pattern), F.lit(values)))
    # The pattern turns bytes that are not UTF-8 into U+FFFD.
    is_taken = F.col("_taken").startswith(_MARK) & ~F.col("_taken").contains("\ufffd")
    moment = _text("event_time").try_cast("timestamp")
    lines = F.when(_text("products") != "", F.try_parse_json(_text("products")).try_cast(PRODUCT_LINES))
    fast = F.struct(*(F.col(f"_{name}").alias(name) for name in ("texts", "event_time", "products")))
    read = (
        records.select("*", taken.alias("_taken"))
        .select("*", F.when(is_taken, F.split("_taken", _MARK)).alias("_texts"))
        .select("*", moment.alias("_event_time"), lines.alias("_products"))
        .select("*", F.when(_is_right(most_ahead, most_behind), fast).alias("_fast"))
    )
    # The detour by an array makes Spark generate a method of its own for what follows: Java compiles no long ones.
    return read.select(*records.columns, F.explode(F.array("_fast")).alias("_fast"))


def is_sent() -> Column:
    """True if the record can have been sent at its Kafka time."""
    began, ends = (F.lit(text).cast("timestamp") for text in (_KAFKA_BEGAN, _KAFKA_ENDS))
    sent = F.col("kafka_timestamp")
    return F.coalesce((sent >= began) & (sent < ends), F.lit(False))


def column(field: Field) -> Column:
    """A field's column of silver as the fast path has read it; null where it has not."""
    if field.kind in ("products", "timestamp"):
        return F.col(f"_fast.{field.silver_column}")
    text = _text(field.silver_column, "_fast.texts")
    return F.when(text != "", text.try_cast(_READ_AS[field.kind]) if field.kind in _READ_AS else text)


def _text(column: str, texts: str = "_texts") -> Column:
    """The event's text for a column of silver, empty if there is none."""
    return F.get(texts, F.lit(_place(column)))


def _place(column: str) -> int:
    return 1 + [field.silver_column for field in contract.FIELDS].index(column)


def _pattern() -> tuple[str, str]:
    """The pattern of a usual event, and its replacement: the values of the fields."""
    numbers, values = count(1), list[int]()

    def once() -> str:
        """An empty group that matches only once: no name may come twice."""
        return rf"((?!\{next(numbers)}))"

    def members(fields: Iterable[Field]) -> Iterator[str]:
        for field in fields:
            start = f'{field.name}":{once()} ?'
            values.append(next(numbers))
            yield f"{start}(?:{_value(field)}|null)"

    def event() -> Iterator[str]:
        yield from members(contract.ENVELOPE)
        for place, fields in (("context", contract.CONTEXT), ("data", contract.DATA)):
            yield f'{place}":{once()} ?(?:{_object_of(members(fields))}|null)'

    return rf"^{_object_of(event())}\z", "".join(f"{_MARK}${number}" for number in values)


def _object_of(members: Iterable[str]) -> str:
    return rf'\{{(?:"(?:{"|".join(members)})(?:, ?|(?=\}})))*+(?<![, ])\}}'


def _value(field: Field) -> str:
    """A field's value within its limits, with one group around what is read of it."""
    match field.kind:
        case "choice":
            return f'"({"|".join(map(re.escape, field.choices))})"'
        case "version":
            return f"({'|'.join(map(str, contract.SUPPORTED_VERSIONS))})"
        case "products":
            values = ((part.name, _value(part).replace("(", "(?:", 1)) for part in contract.PRODUCT_LINE)
            line = _object_of(f'{name}": ?(?:{value}|null)' for name, value in values)
            return rf"(\[(?:{line}(?:, ?|(?=\])))*+(?<![, ])\])"
    return _VALUES["country" if field.name == "country" else field.kind]


def _is_right(most_ahead: timedelta, most_behind: timedelta) -> Column:
    """True if the event has its required fields, its type's topic, its user's key and a plausible time."""
    homes = []
    for declared in contract.EVENT_TYPES:
        is_home = (_text("event_type") == declared.name) & (F.col("topic") == declared.topic)
        needed = (_text(contract.DATA_FIELDS[name].silver_column) != "" for name in declared.required)
        homes.append(reduce(and_, needed, is_home))
    behind = F.unix_micros("kafka_timestamp") - F.unix_micros("_event_time")
    # Less a day, because clock changes make days longer or shorter.
    longest = most_behind - timedelta(days=1)
    conditions = [
        _text("event_id") != "",
        _text("user_id") != "",
        reduce(or_, homes),
        F.col("key").isNull() | (F.col("key") == _text("user_id").cast("binary")),
        is_sent(),
        behind.between(*(F.lit(time // timedelta(microseconds=1)) for time in (-most_ahead, longest))),
        (_text("products") == "") | F.col("_products").isNotNull(),
    ]
    return reduce(and_, conditions)
