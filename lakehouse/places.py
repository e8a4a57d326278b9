"""Where a record stands in Kafka, and how people write it."""

from __future__ import annotations

from typing import NamedTuple

from lakehouse.errors import UsageError


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As people write it."""
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
