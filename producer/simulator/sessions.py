"""What happens in one session: the funnel page view → product view → cart → purchase, with its side steps."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import orjson

from producer.simulator.catalogue import Catalogue, Product
from producer.simulator.shoppers import Device, Shopper

Step = tuple[int, str, orjson.Fragment]
"""Milliseconds since the session began, event type, data."""

BOUNCE = 0.15
LOOK_AGAIN = 0.70
CLICK = 0.25
WISHLIST = 0.06
ADD_TO_CART = 0.16
CHECKOUT = 0.42
DECLINE = 0.04
TRY_AGAIN = 0.6
PRODUCT_ON_PAGE_VIEW = 0.08
"""Share of product looks that arrive as a page_view which names its product."""

_ELEMENTS = ("image-zoom", "reviews", "size-guide", "banner", "menu", "related")
_PAGES = ("/", "/new", "/sale", "/category/electronics", "/category/home", "/category/fashion", "/cart", "/account")


class Scripts:
    """Writes sessions."""

    def __init__(self, rng: random.Random, catalogue: Catalogue, orders: Iterator[str]) -> None:
        """`orders` gives order identifiers."""
        self._rng = rng
        self._catalogue = catalogue
        self._orders = orders
        self._written: dict[tuple[str, ...], orjson.Fragment] = {}

    def session(self, shopper: Shopper, device: Device, hour: int) -> list[Step]:
        """A session in the given hour (counted from 1970)."""
        rng, roll = self._rng, self._rng.random
        steps: list[Step] = []
        at = 0
        cart: list[Product] = []
        landing = roll()
        if landing < 0.62:
            steps.append((0, "page_view", self.page("/" if landing < 0.4 else _PAGES[int(roll() * 6)], device)))
        elif landing < 0.8:
            steps.append((0, "search", self._search()))
        looks = 0 if steps and roll() < BOUNCE else 1
        while looks and looks < 40:
            at += 800 + int(-9000 * math.log(1.0 - roll()))
            product = self._catalogue.trending(hour) if roll() < 0.04 else self._catalogue.pick(rng, shopper.favourite)
            at = self._look(steps, at, product, device, cart)
            if roll() > LOOK_AGAIN:
                break
            looks += 1
            side = roll()
            if side < 0.18:
                steps.append((at, "page_view", self.page(_PAGES[int(roll() * 6)], device)))
            elif side < 0.28:
                steps.append((at, "search", self._search()))
        if cart and roll() < CHECKOUT:
            self._check_out(steps, at, shopper, device, cart)
        return steps

    def _look(self, steps: list[Step], at: int, product: Product, device: Device, cart: list[Product]) -> int:
        """Look at a product; returns when the look is over."""
        roll = self._rng.random
        if roll() < PRODUCT_ON_PAGE_VIEW:
            steps.append((at, "page_view", self.product_page(product, device)))
        else:
            steps.append((at, "product_view", product.view))
        at += 1500 + int(-14000 * math.log(1.0 - roll()))
        if roll() < CLICK:
            steps.append((at - 700, "click", self.click(_ELEMENTS[int(roll() * 6)], product)))
        chance = roll()
        if chance < WISHLIST:
            steps.append((at, "add_to_wishlist", product.reference))
        elif chance < WISHLIST + ADD_TO_CART:
            steps.append((at, "add_to_cart", product.cart))
            cart.append(product)
        return at + 400

    def _check_out(self, steps: list[Step], at: int, shopper: Shopper, device: Device, cart: list[Product]) -> None:
        rng, roll = self._rng, self._rng.random
        steps.append((at + 300, "page_view", self.page("/cart", device)))
        at += 4000 + int(-25000 * math.log(1.0 - roll()))
        lines = [(product, 1 if roll() < 0.8 else rng.randrange(2, 5)) for product in cart]
        order, cards = next(self._orders), shopper.cards
        card = cards[int(roll() * len(cards))]
        declined = shopper.payment_method != "invoice" and roll() < DECLINE
        steps.append((at, "purchase", self.purchase(order, lines, shopper.payment_method, card, declined)))
        while declined and roll() < TRY_AGAIN:
            at += 8000 + int(-30000 * math.log(1.0 - roll()))
            declined = roll() < 0.25
            card = cards[int(roll() * len(cards))]
            steps.append((at, "purchase", self.purchase(order, lines, shopper.payment_method, card, declined)))

    def page(self, url: str, device: Device) -> orjson.Fragment:
        """Data of a page view."""
        kind, browser = device.kind, device.browser
        return self._once(
            (url, kind, browser),
            lambda: {"page_url": f"https://shop.example{url}", "device": kind, "browser": browser},
        )

    def product_page(self, product: Product, device: Device) -> orjson.Fragment:
        """Data of a page view that names its product."""
        return self._once(
            (product.product_id, device.kind, device.browser),
            lambda: {
                "page_url": f"https://shop.example/p/{product.product_id}",
                "device": device.kind,
                "browser": device.browser,
                "product_id": product.product_id,
                "product_name": product.name,
                "category": product.category,
                "price": product.price,
            },
        )

    def click(self, element: str, product: Product) -> orjson.Fragment:
        """Data of a click on a product's page."""
        number = product.product_id
        return self._once(
            (element, number),
            lambda: {"element": element, "page_url": f"https://shop.example/p/{number}", "product_id": number},
        )

    def _once(self, key: tuple[str, ...], data: Callable[[], dict[str, object]]) -> orjson.Fragment:
        """Data as JSON, which is written when its key comes first."""
        found = self._written.get(key)
        if found is None:
            found = self._written[key] = orjson.Fragment(orjson.dumps(data()))
        return found

    def purchase(
        self, order: str, lines: list[tuple[Product, int]], method: str, card: str, declined: bool
    ) -> orjson.Fragment:
        """Data of a purchase: only cards have a fingerprint, an invoice has no payment status yet."""
        data: dict[str, object] = {
            "order_id": order,
            "total_amount": round(sum(product.price * quantity for product, quantity in lines), 2),
            "currency": "EUR",
            "payment_method": method,
        }
        if method != "invoice":
            data["payment_status"] = "declined" if declined else "approved"
        if method in ("card", "apple_pay"):
            data["card_fingerprint"] = card
        data["products"] = [
            {"product_id": product.product_id, "quantity": quantity, "price": product.price}
            for product, quantity in lines
        ]
        return orjson.Fragment(orjson.dumps(data))

    def _search(self) -> orjson.Fragment:
        searches = self._catalogue.searches
        return searches[int(self._rng.random() ** 2 * len(searches))]
