"""Who shops. A shopper is a function of seed and number, so a million of them cost nothing until they come."""

import bisect
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import orjson

from producer.simulator.catalogue import CATEGORIES
from producer.simulator.geography import COUNTRIES, EDGES, travel_hours
from producer.simulator.randomness import MASK64, derive, scramble, scramble32

FRESH_FROM = 1 << 31
"""Numbers from here are accounts that nobody has seen before. Identifiers are scrambled and do not show it."""

_BROWSERS = (
    ("mobile", "Chrome", "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/152.0 Mobile Safari/537.36"),
    (
        "mobile",
        "Safari",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_2 like Mac OS X) AppleWebKit/605.1 Version/19.2 Safari/604.1",
    ),
    ("desktop", "Chrome", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/152.0 Safari/537.36"),
    ("desktop", "Firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0"),
    ("desktop", "Safari", "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_6) AppleWebKit/605.1 Version/19.1 Safari/605.1"),
    ("tablet", "Safari", "Mozilla/5.0 (iPad; CPU OS 19_1 like Mac OS X) AppleWebKit/605.1 Version/19.1 Safari/604.1"),
)
TABLET = 5
EARLIER_DAYS, EARLIER_SHARE = 120, 0.25
"""Some shoppers first came before the history begins; they are past the steep part of their curve."""
_METHODS = ("card", "card", "card", "card", "paypal", "paypal", "apple_pay", "invoice")


class Device(NamedTuple):
    """A device: identifier, kind, browser, and how it introduces itself."""

    device_id: str
    kind: str
    browser: str
    user_agent: str


class Shopper(NamedTuple):
    """A person with an account. Devices and cards are made when asked for: most visits need one device, no card."""

    number: int
    user_id: str
    country: str
    ip: str
    device_rolls: tuple[tuple[int, int | None], ...]
    card_rolls: tuple[int, ...]
    payment_method: str
    favourite: int

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices, the most used first."""
        return tuple(make_device(*roll) for roll in self.device_rolls)

    @property
    def cards(self) -> tuple[str, ...]:
        """Fingerprints of the cards."""
        return tuple(f"c{scramble(roll):016x}" for roll in self.card_rolls)


class Visit(NamedTuple):
    """One session of a shopper: whose it is, on which device, and its JSON context."""

    user_id: str
    device: Device
    ip: str
    country: str
    context: orjson.Fragment


class Population:
    """All shoppers of one seed."""

    def __init__(self, seed: int) -> None:
        self._salt = derive(seed, "population")
        self._salt32 = self._salt & 0xFFFFFFFF
        self._tag = f"{derive(seed, 'tag') & 0xFFF:03x}"
        self.shopper = lru_cache(maxsize=1 << 16)(self._make)

    def number(self, index: int, what: str) -> int:
        """A 64-bit number that belongs to this shopper and this matter."""
        return scramble(self._salt ^ derive(what) ^ (index * 0x9E3779B97F4A7C15 & MASK64))

    def mobile_ip(self, shopper: Shopper, at_ms: int) -> str:
        """The shopper's address on the mobile network, which changes by the hour."""
        return ip_address(self.number(shopper.number, "road") ^ (at_ms // 3_600_000))

    def country_now(self, shopper: Shopper, at_ms: int, last: tuple[int, str] | None) -> str:
        """Where the shopper is: at home, or on a trip of a week; nobody arrives sooner than travel allows."""
        week = at_ms // (7 * 86_400_000)
        roll = scramble(self._salt ^ (shopper.number * 0x9E3779B97F4A7C15) ^ (week * 0xD1B54A32D192ED03))
        where = COUNTRIES[(roll >> 8) % len(COUNTRIES)].code if roll % 64 == 0 else shopper.country
        if last is not None and last[1] != where:
            needed_ms = travel_hours(last[1], where) * 3_600_000 * (1.3 + (roll >> 40) % 64 / 64)
            if at_ms - last[0] < needed_ms:
                return last[1]
        return where

    def _make(self, index: int) -> Shopper:
        roll = self.number(index, "shopper")
        household = self.number(index >> 1, "household")
        shares_home = household % 100 < 20
        lives = household if shares_home else roll
        owned = 1 + (roll % 100 >= 45) + (roll % 100 >= 85)
        devices: list[tuple[int, int | None]] = [(roll + number, None) for number in range(owned)]
        if household % 100 < 6:
            devices.append((household, TABLET))
        return Shopper(
            number=index,
            user_id=f"u{self._tag}{scramble32(index ^ self._salt32):08x}",
            country=_country(lives),
            ip=ip_address(lives >> 3),
            device_rolls=tuple(devices),
            card_rolls=tuple(roll ^ number for number in range(1, 2 + (roll >> 24) % 3 // 2)),
            payment_method=_METHODS[(roll >> 16) % len(_METHODS)],
            favourite=(roll >> 40) % CATEGORIES,
        )


def make_device(roll: int, kind: int | None = None) -> Device:
    """The device that belongs to a number; `kind` selects the browser."""
    number = scramble(roll)
    agent = _BROWSERS[(number >> 50) % len(_BROWSERS) if kind is None else kind]
    return Device(f"d{number & 0xFFFFFFFFFFFF:012x}", *agent)


def _country(roll: int) -> str:
    share = (scramble(roll) >> 20) / (1 << 44)
    return COUNTRIES[bisect.bisect(EDGES, share * EDGES[-1])].code


def ip_address(roll: int) -> str:
    """A public-looking address; one in eight is IPv6."""
    number = scramble(roll)
    if number % 8 == 0:
        return f"2a{number >> 8 & 0xFF:02x}:{number >> 16 & 0xFFFF:x}:{number >> 32 & 0xFFFF:x}::{number >> 48:x}"
    return f"{11 + (number >> 8) % 110}.{(number >> 16) % 256}.{(number >> 24) % 256}.{1 + (number >> 32) % 254}"


def visit(session_id: str, shopper: Shopper, device: Device, ip: str, country: str) -> Visit:
    """A session, with its context as JSON."""
    context = {
        "session_id": session_id,
        "device_id": device.device_id,
        "ip": ip,
        "country": country,
        "user_agent": device.user_agent,
    }
    return Visit(shopper.user_id, device, ip, country, orjson.Fragment(orjson.dumps(context)))


def returning(seed: int, users: int, days: int) -> Callable[[int, float], np.ndarray]:
    """Who comes on which day of a history: everybody on their first day, then less and less, some more loyal.

    Makes each shopper's chance to come of a day, and of the factor of its weekday.
    """
    rng = np.random.default_rng(derive(seed, "returning"))
    first = np.floor(rng.random(users) * days).astype(np.int64)
    earlier = rng.random(users) < EARLIER_SHARE
    first[earlier] = -1 - rng.integers(0, EARLIER_DAYS, size=int(earlier.sum()))
    loyalty = rng.beta(1.6, 3.0, size=users) * 1.4

    def chances(day: int, factor: float) -> np.ndarray:
        age = day - first
        chance = loyalty * 0.42 * np.maximum(age, 1.0) ** -0.55 * factor
        chance[age == 0] = 1.0
        chance[age < 0] = 0.0
        return np.minimum(chance, 1.0)

    return chances
