"""The events of an episode, and the world in which fraud and its look-alikes take place."""

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from producer.simulator.catalogue import Catalogue, Product, view_of
from producer.simulator.randomness import scramble
from producer.simulator.sessions import purchase
from producer.simulator.shoppers import FRESH_FROM, Device, Population, Shopper, Visit, ip_address, make_device, visit


class PlannedStep(NamedTuple):
    """One event of an episode."""

    at_ms: int
    visit: Visit
    event_type: str
    data: orjson.Fragment
    card: str | None = None


Steps = Generator[PlannedStep, None, None]
"""The events of an episode, in any order."""


@dataclass
class World:
    """The shop as episodes see it: its people, devices, cards and goods.

    `rng` is the episodes' own; ordinary traffic is the same with and without them.
    """

    rng: random.Random
    population: Population
    users: int
    catalogue: Catalogue
    orders: Iterator[str]
    sessions: Iterator[str]
    _fresh: int = FRESH_FROM

    def regular(self) -> Shopper:
        """An existing account."""
        return self.population.shopper(self.rng.randrange(self.users))

    def fresh(self) -> Shopper:
        """A new account."""
        self._fresh += 1
        return self.population.shopper(self._fresh)

    def someone(self, fresh: float) -> Shopper:
        """A new account with the given chance, else an existing one."""
        return self.fresh() if self.rng.random() < fresh else self.regular()

    def device(self) -> Device:
        """A device nobody has used before."""
        return make_device(self.rng.getrandbits(64))

    def ip(self) -> str:
        """An address nobody has used before."""
        return ip_address(self.rng.getrandbits(60))

    def card(self) -> str:
        """A card nobody has used before."""
        return f"c{scramble(self.rng.getrandbits(64)):016x}"

    def order(self) -> str:
        """A new order's identifier."""
        return next(self.orders)

    def visit(
        self, shopper: Shopper, device: Device | None = None, ip: str | None = None, country: str | None = None
    ) -> Visit:
        """A session, on the shopper's own device, address and country unless stated."""
        device = device or shopper.devices[0]
        return visit(next(self.sessions), shopper, device, ip or shopper.ip, country or shopper.country)

    def look(self, at_ms: int, who: Visit, product: Product | None = None) -> PlannedStep:
        """A product view."""
        product = product or self.catalogue.pick(self.rng, 0)
        return PlannedStep(at_ms, who, "product_view", view_of(product))

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
        data = purchase(order or self.order(), lines, "card", card, declined)
        return PlannedStep(at_ms, who, "purchase", data, card)

    def browse(self, at_ms: int, who: Visit, count: int, mean_gap_s: float = 15.0) -> Generator[PlannedStep, None, int]:
        """A person looking at `count` products, at a person's pace; returns when the last look was."""
        last = at_ms
        for _ in range(count):
            yield self.look(at_ms, who)
            last = at_ms
            at_ms += 1500 + int(self.rng.expovariate(1 / mean_gap_s) * 1000)
        return last
