"""What fraud rules measure, and which events they consider.

A measure is an expression over `history`, an array of an entity's last events up to and including the one
that is judged, in order of event_time and event_id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import radians

from pyspark.sql import Column
from pyspark.sql import functions as F

from gold.countries import COUNTRIES, radius_km
from gold.fraud_rules import Considers
from gold.shop import is_paid_purchase

EARTH_RADIUS_KM = 6371.0
HISTORY_FIELDS = (
    "event_time",
    "event_id",
    "user_id",
    "device_id",
    "country",
    "card_fingerprint",
    "is_declined",
    "gap_seconds",
    "step_km",
)
"""What `history` keeps of an event. `gap_seconds` and `step_km` lead from the entity's event before."""


@dataclass(frozen=True)
class Measure:
    """A number (or a text, for reasons) about `history`, and what it cannot do without.

    A measure that `counts_events` is at most the number of events; one that `differs_in` a column needs two
    values of it. Both sort out most entities by a cheap aggregate, before any history is built.
    """

    of: Callable[[Column], Column]
    counts_events: bool = False
    differs_in: str | None = None


def considered(considers: Considers) -> Column:
    """Whether a rule looks at an event. Never null."""
    conditions = {
        "events": F.lit(True),
        "located events": F.coalesce(F.col("country").isin(list(COUNTRIES)), F.lit(False)),
        "views": F.col("event_type").isin("product_view", "page_view"),
        "purchases": F.col("event_type") == "purchase",
        "paid purchases": is_paid_purchase(),
    }
    return conditions[considers]


def is_declined() -> Column:
    """Whether an event is a payment that was refused. Never null."""
    return F.coalesce(F.col("payment_status"), F.lit("approved")) == "declined"


def distance_km(origin: Column, target: Column) -> Column:
    """Kilometres between the borders of two countries seen as circles; 0 for neighbours, null when unknown."""
    lat_1, lon_1, lat_2, lon_2 = (origin["lat"], origin["lon"], target["lat"], target["lon"])
    haversine = F.pow(F.sin((lat_2 - lat_1) / 2), 2) + F.cos(lat_1) * F.cos(lat_2) * F.pow(
        F.sin((lon_2 - lon_1) / 2), 2
    )
    between_middles = F.asin(F.sqrt(haversine)) * (2 * EARTH_RADIUS_KM)
    return F.greatest(between_middles - origin["radius_km"] - target["radius_km"], F.lit(0.0))


def place(country: str) -> Column:
    """The circle of a country: latitude and longitude in radians, radius; null when the country is unknown."""
    circles = [
        part
        for code, (lat, lon, _) in COUNTRIES.items()
        for part in (
            F.lit(code),
            F.struct(
                F.lit(radians(lat)).alias("lat"),
                F.lit(radians(lon)).alias("lon"),
                F.lit(radius_km(code)).alias("radius_km"),
            ),
        )
    ]
    return F.try_element_at(F.create_map(*circles), F.col(country))


def span_seconds(history: Column) -> Column:
    """Seconds between the first and the last event."""
    return _seconds(_last(history)["event_time"]) - _seconds(history[0]["event_time"])


def _last(history: Column) -> Column:
    return F.element_at(history, -1)


def _seconds(moment: Column) -> Column:
    return F.unix_micros(moment) / 1e6


def _distinct(history: Column, name: str) -> Column:
    return F.size(F.array_compact(F.array_distinct(history[name])))


def _declined(history: Column) -> Column:
    return F.filter(history, lambda event: event["is_declined"])


def _mean_gap(history: Column) -> Column:
    return span_seconds(history) / F.greatest(F.size(history) - 1, F.lit(1))


def _gap_variation(history: Column) -> Column:
    """Standard deviation of the gaps between the events over their mean; null without a gap."""
    gaps = F.slice(history, 2, F.greatest(F.size(history) - 1, F.lit(0)))["gap_seconds"]
    squares = F.aggregate(gaps, F.lit(0.0), lambda total, gap: total + gap * gap)
    mean = _mean_gap(history)
    variance = F.greatest(F.try_divide(squares, F.size(gaps)) - mean * mean, F.lit(0.0))
    return F.try_divide(F.sqrt(variance), mean)


def _speed(history: Column) -> Column:
    """Kilometres per hour over the last step; a step within one second counts as one second."""
    hours = F.greatest(_last(history)["gap_seconds"], F.lit(1.0)) / 3600
    return _last(history)["step_km"] / hours


MEASURES: dict[str, Measure] = {
    "events": Measure(F.size, counts_events=True),
    "cards": Measure(lambda history: _distinct(history, "card_fingerprint"), True, "card_fingerprint"),
    "accounts": Measure(lambda history: _distinct(history, "user_id"), True, "user_id"),
    "devices": Measure(lambda history: _distinct(history, "device_id"), True, "device_id"),
    "declines": Measure(lambda history: F.size(_declined(history)), counts_events=True),
    "declined_cards": Measure(
        lambda history: _distinct(_declined(history), "card_fingerprint"), True, "card_fingerprint"
    ),
    "decline_percent": Measure(lambda history: F.size(_declined(history)) * 100 / F.size(history)),
    "cards_per_account": Measure(
        lambda history: _distinct(history, "card_fingerprint") / _distinct(history, "user_id")
    ),
    "mean_gap": Measure(_mean_gap),
    "gap_variation": Measure(_gap_variation),
    "distance": Measure(lambda history: _last(history)["step_km"], differs_in="country"),
    "speed": Measure(_speed, differs_in="country"),
    "country": Measure(lambda history: _last(history)["country"]),
    "previous_country": Measure(lambda history: history[0]["country"]),
}
