"""A raw record: where it stands in Kafka, as people write it, and what its value carries, as SQL. Refused records and
duplicates are known by nothing else."""

from typing import NamedTuple

from lakehouse.errors import UsageError
from lakehouse.sql_text import quoted_text

TEXT = "decode(value, 'replace')"
"""The value as text, whatever its bytes are."""


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


def places_in(text: str) -> list[Place]:
    """The records that a text names, separated by commas. Raises ValueError for anything but topic-partition-offset."""
    found = []
    for one in filter(None, (part.strip() for part in text.split(","))):
        topic, *numbers = one.rsplit("-", 2)
        if len(numbers) != 2 or not all(number.isdecimal() and len(number) < 19 for number in numbers):
            raise ValueError(f"{one!r} is not topic-partition-offset")
        found.append(Place(topic, int(numbers[0]), int(numbers[1])))
    if not found:
        raise ValueError("no record is named")
    return found


def place_in(text: str) -> Place:
    """The record that a text names. Raises UsageError for anything but one."""
    try:
        found = places_in(text)
    except ValueError as error:
        raise UsageError(f"{text!r} names no record: {error}.") from None
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} records; give one.")
    return found[0]


def carries(field: str, wanted: str) -> str:
    """Whether `wanted` is the event's `field`; of a value that is no JSON, whether it stands there in quotes."""
    given, quoted = quoted_text(wanted), quoted_text(f'"{wanted}"')
    # Looking for the plain text sorts out nearly all; JSON may also write any character by an escape.
    may_be = f"(contains({TEXT}, {given}) OR contains({TEXT}, '\\'))"
    return (
        f"({may_be} AND CASE WHEN json_valid({TEXT}) THEN json_extract_string({TEXT}, '$.{field}') = {given}"
        f" ELSE contains({TEXT}, {quoted}) END)"
    )


def field_of(field: str) -> str:
    """The text of an event's `field`; NULL where the value is no JSON."""
    return f"try(json_extract_string({TEXT}, '$.{field}'))"
