"""The fraud flags, recomputed without Spark: event by event and entity by entity, from what was accepted.

It shares nothing with the pipeline but the table of countries. Thresholds stand here once more, as what the rules'
page promises; a change of a rule has to be made in both places.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import acos, cos, pi, radians, sin, sqrt
from statistics import mean
from typing import Any

import duckdb

from gold.countries import COUNTRIES

MINUTE = 60_000_000
Flag = tuple[str, str, str, str, tuple[str, ...]]
"""rule_id, entity type, entity, user of the raising event, event_ids of the evidence"""

_EVENTS = """
select epoch_us(e.event_time) as moment, e.event_id, e.event_type, e.user_id as "user",
    json_extract_string(r.value, '$.context.device_id') as device, json_extract_string(r.value, '$.context.ip') as ip,
    json_extract_string(r.value, '$.context.country') as country,
    json_extract_string(r.value, '$.data.card_fingerprint') as card, e.order_id as "order",
    coalesce(e.payment_status, 'approved') as payment
from accepted e join records r using (topic, "partition", "offset")
order by moment, e.event_id
"""


@dataclass(frozen=True)
class Event:
    """What the rules see of an accepted event; `at` in microseconds since the epoch."""

    at: int
    event_id: str
    event_type: str
    user: str
    device: str | None
    ip: str | None
    country: str | None
    card: str | None
    order: str | None
    payment: str

    @property
    def is_purchase(self) -> bool:
        return self.event_type == "purchase"

    @property
    def is_paid(self) -> bool:
        return self.is_purchase and self.payment == "approved"


History = list[Event]


def _different(history: Iterable[Event], name: str) -> int:
    return len({getattr(event, name) for event in history} - {None})


def _declined(history: History) -> History:
    return [event for event in history if event.payment == "declined"]


def _mostly_declined(history: History) -> bool:
    return len(_declined(history)) * 2 >= len(history)


def _cards_of_a_user(history: History) -> bool:
    declined = _declined(history)
    return _different(history, "card") >= 5 or (len(declined) >= 5 and _different(declined, "card") >= 3)


def _cards_of_a_device(history: History) -> bool:
    declined, cards = _declined(history), _different(history, "card")
    is_shared_out = cards >= 6 and cards >= 2 * _different(history, "user")
    return is_shared_out or (_different(declined, "card") >= 4 and len(declined) >= 5 and _mostly_declined(history))


def _cards_of_an_address(history: History) -> bool:
    return _different(_declined(history), "card") >= 6 and _mostly_declined(history)


def _is_regular(history: History) -> bool:
    if len(history) < 30:
        return False
    gaps = [(after.at - before.at) / 1e6 for before, after in pairwise(history)]
    average = mean(gaps)
    deviation = sqrt(max(mean(gap * gap for gap in gaps) - average * average, 0))
    return average <= 1.5 or deviation <= 0.4 * average


def _is_impossible(history: History) -> bool:
    first, last = history[0], history[-1]
    (lat_1, lon_1, area_1), (lat_2, lon_2, area_2) = COUNTRIES[first.country or ""], COUNTRIES[last.country or ""]
    north_1, north_2, turn = radians(lat_1), radians(lat_2), radians(lon_2 - lon_1)
    cosine = sin(north_1) * sin(north_2) + cos(north_1) * cos(north_2) * cos(turn)
    middles = acos(min(cosine, 1.0)) * 6371.0
    kilometres = max(middles - sum(round(sqrt(area * 1000 / pi)) for area in (area_1, area_2)), 0)
    return kilometres >= 300 and kilometres * 3600 / max((last.at - first.at) / 1e6, 1) >= 1000


@dataclass(frozen=True)
class Rule:
    """Which events it looks at, how far back and at how many, how long an episode may pause, and what is too much,
    per kind of entity, the most specific first."""

    considers: Callable[[Event], bool]
    minutes: int
    pause: int
    most: int
    too_much: dict[str, Callable[[History], bool]]


RULES = {
    "purchase_velocity": Rule(
        lambda event: event.is_paid, 10, 30, 64,
        {"user": lambda h: _different(h, "order") >= 5 and _different(h, "card") <= 4},
    ),
    "card_testing": Rule(
        lambda event: event.is_purchase and event.card is not None, 30, 30, 64,
        {"user": _cards_of_a_user, "device": _cards_of_a_device, "ip": _cards_of_an_address},
    ),
    "bot_browsing": Rule(
        lambda event: event.event_type in ("product_view", "page_view"), 10, 10, 30, {"user": _is_regular}
    ),
    "account_ring": Rule(
        lambda event: event.is_paid, 60, 30, 64,
        {
            "device": lambda h: _different(h, "user") >= 5,
            "card": lambda h: _different(h, "user") >= 5,
            "ip": lambda h: _different(h, "user") >= 10,
        },
    ),
    "account_sharing": Rule(
        lambda event: event.device is not None, 30, 30, 64, {"user": lambda h: _different(h, "device") >= 4}
    ),
    "impossible_travel": Rule(lambda event: event.country in COUNTRIES, 60, 30, 2, {"user": _is_impossible}),
}  # fmt: skip


def accepted(database: duckdb.DuckDBPyConnection) -> list[Event]:
    """The events of an oracle's database, in order."""
    return [Event(*row) for row in database.execute(_EVENTS).fetchall()]


def flags(events: list[Event]) -> list[Flag]:
    """All flags of the events, which are in order of time and event_id. Sorted."""
    return sorted(flag for name, rule in RULES.items() for flag in _flags_of(name, rule, events))


def _flags_of(name: str, rule: Rule, events: list[Event]) -> Iterator[Flag]:
    named: set[str] = set()
    """Events at which a more specific entity has crossed."""
    for kind, is_too_much in rule.too_much.items():
        crossed: set[str] = set()
        for entity, history in _by_entity(kind, rule, events).items():
            last = None
            for number, event in enumerate(history):
                seen = [one for one in history[: number + 1] if one.at > event.at - rule.minutes * MINUTE][-rule.most :]
                if not is_too_much(seen):
                    continue
                if event.event_id not in named and (last is None or last < event.at - rule.pause * MINUTE):
                    yield name, kind, entity, event.user, tuple(one.event_id for one in seen)
                crossed.add(event.event_id)
                last = event.at
        named |= crossed


def _by_entity(kind: str, rule: Rule, events: list[Event]) -> dict[str, History]:
    found: dict[str, History] = defaultdict(list)
    for event in events:
        entity = getattr(event, kind)
        if entity is not None and rule.considers(event):
            found[entity].append(event)
    return found


def found(rows: list[dict[str, Any]]) -> list[Flag]:
    """Rows of gold.fraud_flags in the same form."""
    names = ("rule_id", "entity_type", "entity", "user_id")
    return sorted((*(row[name] for name in names), tuple(row["evidence"])) for row in rows)  # type: ignore[misc]
