"""What happens in one session: the funnel page view → product view → cart → purchase, with its side steps."""

import math
import random
from collections.abc import Generator, Iterator

import orjson

from producer.simulator.catalogue import Catalogue, Product, as_json, view_of
from producer.simulator.shoppers import Device, Shopper

Step = tuple[int, str, orjson.Fragment]
"""Milliseconds since the session began, event type, data."""
Steps = Iterator[Step]

BOUNCE = 0.15
LOOK_AGAIN = 0.70
MOST_LOOKS = 39
CLICK = 0.25
WISHLIST = 0.06
ADD_TO_CART = 0.16
CHECKOUT = 0.42
DECLINE = 0.04
TRY_AGAIN = 0.6
PRODUCT_ON_PAGE_VIEW = 0.08
"""Share of product looks that arrive as a page_view which names its product."""

_SHOP = "https://shop.example"
_ELEMENTS = ("image-zoom", "reviews", "size-guide", "banner", "menu", "related")
_PAGES = ("/", "/new", "/sale", "/category/electronics", "/category/home", "/category/fashion", "/cart", "/account")


class Scripts:
    """Writes sessions."""

    def __init__(self, rng: random.Random, catalogue: Catalogue, orders: Iterator[str]) -> None:
        """`orders` gives order identifiers."""
        self._rng = rng
        self._catalogue = catalogue
        self._orders = orders

    def session(self, shopper: Shopper, device: Device, hour: int) -> Steps:
        """A session in the given hour (counted from 1970)."""
        rng, roll = self._rng, self._rng.random
        at = 0
        cart: list[Product] = []
        landing = roll()
        if landing < 0.62:
            yield 0, "page_view", _page("/" if landing < 0.4 else _PAGES[int(roll() * 6)], device)
        elif landing < 0.8:
            yield 0, "search", self._search()
        if landing < 0.8 and roll() < BOUNCE:
            return
        for _ in range(MOST_LOOKS):
            at += 800 + int(-9000 * math.log(1.0 - roll()))
            product = self._catalogue.trending(hour) if roll() < 0.04 else self._catalogue.pick(rng, shopper.favourite)
            at = yield from self._look(at, product, device, cart)
            if roll() > LOOK_AGAIN:
                break
            side = roll()
            if side < 0.18:
                yield at, "page_view", _page(_PAGES[int(roll() * 6)], device)
            elif side < 0.28:
                yield at, "search", self._search()
        if cart and roll() < CHECKOUT:
            yield from self._check_out(at, shopper, device, cart)

    def _look(self, at: int, product: Product, device: Device, cart: list[Product]) -> Generator[Step, None, int]:
        """Look at a product; returns when the look is over."""
        roll = self._rng.random
        if roll() < PRODUCT_ON_PAGE_VIEW:
            yield at, "page_view", _page(f"/p/{product.product_id}", device, **product._asdict())
        else:
            yield at, "product_view", view_of(product)
        at += 1500 + int(-14000 * math.log(1.0 - roll()))
        if roll() < CLICK:
            element, number = _ELEMENTS[int(roll() * 6)], product.product_id
            yield at - 700, "click", as_json(element=element, page_url=f"{_SHOP}/p/{number}", product_id=number)
        chance = roll()
        if chance < WISHLIST:
            yield at, "add_to_wishlist", as_json(product_id=product.product_id)
        elif chance < WISHLIST + ADD_TO_CART:
            yield at, "add_to_cart", as_json(product_id=product.product_id, quantity=1)
            cart.append(product)
        return at + 400

    def _check_out(self, at: int, shopper: Shopper, device: Device, cart: list[Product]) -> Steps:
        rng, roll = self._rng, self._rng.random
        yield at + 300, "page_view", _page("/cart", device)
        at += 4000 + int(-25000 * math.log(1.0 - roll()))
        lines = [(product, 1 if roll() < 0.8 else rng.randrange(2, 5)) for product in cart]
        order, cards = next(self._orders), shopper.cards
        card = cards[int(roll() * len(cards))]
        declined = shopper.payment_method != "invoice" and roll() < DECLINE
        yield at, "purchase", purchase(order, lines, shopper.payment_method, card, declined)
        while declined and roll() < TRY_AGAIN:
            at += 8000 + int(-30000 * math.log(1.0 - roll()))
            declined = roll() < 0.25
            card = cards[int(roll() * len(cards))]
            yield at, "purchase", purchase(order, lines, shopper.payment_method, card, declined)

    def _search(self) -> orjson.Fragment:
        searches = self._catalogue.searches
        return searches[int(self._rng.random() ** 2 * len(searches))]


def _page(url: str, device: Device, **product: object) -> orjson.Fragment:
    """Data of a page view, and of the product that it names."""
    return as_json(page_url=f"{_SHOP}{url}", device=device.kind, browser=device.browser, **product)


def purchase(order: str, lines: list[tuple[Product, int]], method: str, card: str, declined: bool) -> orjson.Fragment:
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
        {"product_id": product.product_id, "quantity": quantity, "price": product.price} for product, quantity in lines
    ]
    return orjson.Fragment(orjson.dumps(data))
