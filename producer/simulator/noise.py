"""What goes wrong on the way: records sent twice, out of order, late, malformed, or merely odd."""

import math
import random
from collections.abc import Callable, Iterator

import orjson

from producer.record import Record
from producer.simulator.calendar import rfc3339
from producer.simulator.defects import DEFECTS, HARMLESS, Defect
from producer.simulator.options import SimulationOptions

RARE_SHARE = 0.1
"""How often a large defect takes its turn: each of them costs a megabyte."""


class Noise:
    """Decides what happens to each ordinary event."""

    def __init__(self, options: SimulationOptions, rng: random.Random, next_id: Callable[[], str]) -> None:
        """`next_id` gives event identifiers for malformed records, which come on top of the ordinary ones."""
        self._rng = rng
        self._next_id = next_id
        self._is_late_from = options.out_of_order
        self.delayed_share = options.out_of_order + options.late
        self._repeat = options.duplicates
        self._malformed = self._repeat + options.malformed
        self.extra_share = self._malformed + options.harmless
        self._defects = _turns(rng, DEFECTS)
        self._harmless = _turns(rng, tuple(kind for kind in HARMLESS if kind.is_traffic))
        self._remembered: list[Record] = []

    def delay_ms(self, roll: float) -> int:
        """How far an event's timestamp lies behind the moment it is sent, for a roll below `delayed_share`."""
        share = self._rng.random()
        if roll < self._is_late_from:
            return 300 + int(share * 20_000)
        return int(10 * 60_000 * math.exp(share * 5.6))  # ten minutes to about two days

    def besides(self, roll: float, record: Record, live: bool) -> Record:
        """What is sent besides `record`, for a roll below `extra_share`."""
        if roll < self._repeat:
            return self._again(record, live)
        turns = self._defects if roll < self._malformed else self._harmless
        return self._odd(record, turns, live)

    def _again(self, record: Record, live: bool) -> Record:
        """The same record once more: soon, after some minutes, or long after."""
        rng = self._rng
        if len(self._remembered) < 2000:
            self._remembered.append(record)
        else:
            self._remembered[rng.randrange(2000)] = record
        when = rng.random()
        if when < 0.6:
            return record._replace(due=record.due + rng.random() * 2)
        if when < 0.85:
            return record._replace(due=record.due + (5 if live else 60) * math.exp(rng.random() * 3))
        if live:
            return rng.choice(self._remembered)._replace(due=record.due)
        return record._replace(due=record.due + 3600 * math.exp(rng.random() * 6.2))

    def _odd(self, record: Record, turns: Iterator[Defect], live: bool) -> Record:
        kind = next(kind for kind in turns if live or not kind.live_only)
        event = orjson.loads(record.value or b"")
        event |= {"event_id": self._next_id(), "timestamp": rfc3339(int(record.due * 1000))}
        return Record(
            topic=kind.topic(record.topic) if kind.topic else record.topic,
            key=kind.key or record.key,
            value=kind.make(event, record.due),
            due=record.due,
            event_id=event["event_id"] if kind.reason is None else None,
            defect=kind.name,
            reason=kind.reason,
        )


def _turns(rng: random.Random, kinds: tuple[Defect, ...]) -> Iterator[Defect]:
    """The kinds in shuffled rounds, so that all of them come, the large ones seldom."""
    while True:
        one_round = [kind for kind in kinds if not kind.large or rng.random() < RARE_SHARE]
        rng.shuffle(one_round)
        yield from reversed(one_round)
