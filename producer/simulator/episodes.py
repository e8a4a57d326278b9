"""What an episode is, and the world in which fraud and its look-alikes take place."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from producer.simulator.catalogue import Catalogue, Product
from producer.simulator.randomness import exponential, scramble
from producer.simulator.sessions import Scripts
from producer.simulator.shoppers import FRESH_FROM, Device, Population, Shopper, Visit, ip_address, make_device, visit


class PlannedStep(NamedTuple):
    """One event of an episode."""

    at_ms: int
    visit: Visit
    event_type: str
    data: orjson.Fragment
    card: str | None = None


@dataclass
class Episode:
    """A fraud episode, or an innocent one that looks like it."""

    scenario: str
    innocent: bool
    steps: list[PlannedStep] = field(default_factory=list)

    def entities(self) -> dict[str, list[str]]:
        """Who and what took part."""
        return {
            "users": sorted({step.visit.user_id for step in self.steps}),
            "devices": sorted({step.visit.device.device_id for step in self.steps}),
            "ips": sorted({step.visit.ip for step in self.steps}),
            "countries": sorted({step.visit.country for step in self.steps}),
            "cards": sorted({step.card for step in self.steps if step.card}),
        }


class World:
    """The shop as episodes see it: its people, devices, cards and goods."""

    def __init__(
        self,
        rng: random.Random,
        population: Population,
        users: int,
        catalogue: Catalogue,
        scripts: Scripts,
        orders: Iterator[str],
        sessions: Iterator[str],
    ) -> None:
        """`rng` is the episodes' own; ordinary traffic is the same with and without them."""
        self.rng = rng
        self.scripts = scripts
        self.catalogue = catalogue
        self._population = population
        self._users = users
        self._orders = orders
        self._sessions = sessions
        self._fresh = FRESH_FROM

    def regular(self) -> Shopper:
        """An existing account."""
        return self._population.shopper(self.rng.randrange(self._users))

    def fresh(self) -> Shopper:
        """A new account."""
        self._fresh += 1
        return self._population.shopper(self._fresh)

    def someone(self, fresh: float) -> Shopper:
        """A new account with the given chance, else an existing one."""
        return self.fresh() if self.rng.random() < fresh else self.regular()

    def device(self) -> Device:
        """A device nobody has used before."""
        return make_device(self.rng.getrandbits(64))

    def ip(self) -> str:
        """An address nobody has used before."""
        return ip_address(self.rng.getrandbits(60))

    def ip_of(self, shopper: Shopper, at_ms: int) -> str:
        """The shopper's address on the mobile network, which changes by the hour."""
        return ip_address(self._population.number(shopper.number, "road") ^ (at_ms // 3_600_000))

    def card(self) -> str:
        """A card nobody has used before."""
        return f"c{scramble(self.rng.getrandbits(64)):016x}"

    def order(self) -> str:
        """A new order's identifier."""
        return next(self._orders)

    def visit(
        self, shopper: Shopper, device: Device | None = None, ip: str | None = None, country: str | None = None
    ) -> Visit:
        """A session, on the shopper's own device, address and country unless stated."""
        device = device or shopper.devices[0]
        return visit(next(self._sessions), shopper, device, ip or shopper.ip, country or shopper.country)

    def look(self, at_ms: int, who: Visit, product: Product | None = None) -> PlannedStep:
        """A product view."""
        product = product or self.catalogue.pick(self.rng, 0)
        return PlannedStep(at_ms, who, "product_view", product.view)

    def buy(
        self,
        at_ms: int,
        who: Visit,
        card: str,
        *,
        declined: bool = False,
        order: str | None = None,
        most: float = 1e9,
        quantity: int = 1,
    ) -> PlannedStep:
        """A purchase by card of one product that costs at most `most`."""
        product = self.catalogue.pick(self.rng, self.rng.randrange(3))
        for _ in range(50):
            if product.price <= most:
                break
            product = self.catalogue.pick(self.rng, 9)
        lines = [(product, quantity)]
        data = self.scripts.purchase(order or self.order(), lines, "card", card, declined)
        return PlannedStep(at_ms, who, "purchase", data, card)

    def browse(self, at_ms: int, who: Visit, count: int, mean_gap_s: float = 15.0) -> list[PlannedStep]:
        """A person looking at `count` products, at a person's pace."""
        steps = []
        for _ in range(count):
            steps.append(self.look(at_ms, who))
            at_ms += 1500 + int(exponential(self.rng, mean_gap_s) * 1000)
        return steps
