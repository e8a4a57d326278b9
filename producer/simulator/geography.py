"""Countries of the shop's visitors, and how long travelling between them takes."""

import math
from dataclasses import dataclass
from functools import cache
from itertools import accumulate


@dataclass(frozen=True)
class Country:
    """A country: share of visitors, hours ahead of UTC, and where its middle lies."""

    code: str
    weight: float
    utc_offset: float
    latitude: float
    longitude: float


COUNTRIES = (
    Country("DE", 24, 1, 51.2, 10.4),
    Country("FR", 14, 1, 46.6, 2.5),
    Country("GB", 12, 0, 54.0, -2.5),
    Country("US", 12, -6, 39.8, -98.6),
    Country("ES", 7, 1, 40.2, -3.6),
    Country("IT", 7, 1, 42.8, 12.6),
    Country("NL", 5, 1, 52.1, 5.3),
    Country("PL", 4, 1, 52.1, 19.4),
    Country("SE", 3, 1, 62.0, 15.0),
    Country("CH", 2, 1, 46.8, 8.2),
    Country("CA", 2, -5, 56.1, -106.3),
    Country("BR", 2, -3, -10.8, -53.1),
    Country("IN", 2, 5.5, 22.4, 78.7),
    Country("JP", 1.5, 9, 36.2, 138.3),
    Country("AU", 1, 10, -25.3, 133.8),
    Country("SG", 0.8, 8, 1.35, 103.8),
    Country("ZA", 0.7, 2, -29.0, 25.1),
)
BY_CODE = {country.code: country for country in COUNTRIES}
EDGES = tuple(accumulate(country.weight for country in COUNTRIES))
"""Running sums of the weights."""

FAR_KILOMETRES = 3000
"""Countries further apart than this cannot be a commute or a border town."""
_FLIGHT_KMH = 750
_AROUND_FLIGHT_HOURS = 2.0


@cache
def distance_km(one: str, other: str) -> float:
    """Great-circle distance between the middles of two countries."""
    a, b = BY_CODE[one], BY_CODE[other]
    lat1, lat2 = math.radians(a.latitude), math.radians(b.latitude)
    half = math.sin((lat2 - lat1) / 2) ** 2
    half += math.cos(lat1) * math.cos(lat2) * math.sin(math.radians(b.longitude - a.longitude) / 2) ** 2
    return 12742 * math.asin(math.sqrt(half))


@cache
def travel_hours(one: str, other: str) -> float:
    """The least time an honest traveller needs between two countries, doors included."""
    return 0.0 if one == other else distance_km(one, other) / _FLIGHT_KMH + _AROUND_FLIGHT_HOURS


@cache
def far_from(code: str) -> tuple[str, ...]:
    """Countries that nobody reaches within an hour or two."""
    return tuple(c.code for c in COUNTRIES if distance_km(code, c.code) > FAR_KILOMETRES)
