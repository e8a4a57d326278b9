"""What the shop sells: categories, products with prices, and a popularity with a long tail (Zipf)."""

import random
from functools import cache
from typing import NamedTuple

import numpy as np
import orjson

from producer.simulator.randomness import derive, generator

PRODUCTS = 2000
ZIPF_EXPONENT = 1.05
AFFINITY = 0.4
"""Share of looks that stay in the shopper's favourite category."""

_CATEGORIES: dict[str, tuple[float, tuple[str, ...]]] = {
    "Electronics": (120, ("Headphones", "Speaker", "Monitor", "Keyboard", "Camera", "Charger")),
    "Home": (45, ("Lamp", "Rug", "Pillow", "Shelf", "Mirror", "Clock")),
    "Kitchen": (35, ("Kettle", "Pan", "Knife", "Blender", "Scale", "Mug")),
    "Fashion": (40, ("Jacket", "Sneaker", "Shirt", "Dress", "Scarf", "Backpack")),
    "Beauty": (20, ("Serum", "Shampoo", "Perfume", "Balm", "Brush")),
    "Sports": (50, ("Mat", "Dumbbell", "Bottle", "Racket", "Tent", "Helmet")),
    "Toys": (25, ("Puzzle", "Robot", "Kite", "Blocks", "Doll")),
    "Books": (15, ("Novel", "Atlas", "Cookbook", "Biography", "Comic")),
    "Garden": (30, ("Spade", "Planter", "Hose", "Lantern", "Hammock")),
    "Grocery": (8, ("Coffee", "Tea", "Chocolate", "Olive Oil", "Pasta")),
    "Pets": (18, ("Leash", "Bowl", "Cat Tree", "Treats")),
    "Office": (22, ("Notebook", "Pen", "Desk Mat", "Stapler", "Chair")),
}
_STYLES = ("Nordic", "Classic", "Ultra", "Eco", "Compact", "Pro", "Velvet", "Café", "Summit", "Aurora", "Mini", "Retro")

CATEGORIES = len(_CATEGORIES)
"""How many categories there are."""

SEARCHES = tuple(
    f"{word} {noun}".lower()
    for word in ("best", "cheap", "new", "red")
    for _, nouns in _CATEGORIES.values()
    for noun in nouns
)


class Product(NamedTuple):
    """A product, as events of its view tell it."""

    product_id: str
    product_name: str
    category: str
    price: float


@cache
def as_json(**data: object) -> orjson.Fragment:
    """An event's data as JSON, which is written when it comes first."""
    return orjson.Fragment(orjson.dumps(data))


@cache
def view_of(product: Product) -> orjson.Fragment:
    """Data of a product view."""
    return as_json(**product._asdict())


class Catalogue:
    """The shop's products; the same for every seed, because a shop has one catalogue."""

    def __init__(self) -> None:
        rng = generator("catalogue")
        names = list(_CATEGORIES)
        self.products = [_product(rng, number, names[rng.randrange(len(names))]) for number in range(PRODUCTS)]
        self.searches = [as_json(query=query, results_count=rng.randrange(0, 240)) for query in SEARCHES]
        ranks = np.arange(1, PRODUCTS + 1, dtype=float)
        weights = ranks**-ZIPF_EXPONENT
        self._all = _draw_table(self.products, weights, 65_536)
        self._by_category = []
        for name in names:
            members = [i for i, product in enumerate(self.products) if product.category == name]
            self._by_category.append(_draw_table([self.products[i] for i in members], weights[members], 8192))

    def pick(self, rng: random.Random, favourite: int) -> Product:
        """A product to look at, by popularity, more often from the favourite category (by index)."""
        roll = rng.random()
        if roll < AFFINITY:
            table = self._by_category[favourite]
            return table[int(roll / AFFINITY * len(table))]
        return self._all[int((roll - AFFINITY) / (1 - AFFINITY) * len(self._all))]

    def trending(self, hour: int) -> Product:
        """What everybody talks about in this hour (counted from 1970)."""
        return self.products[20 + derive("trend", hour) % 400]


def _product(rng: random.Random, number: int, category: str) -> Product:
    middle, nouns = _CATEGORIES[category]
    name = f"{rng.choice(_STYLES)} {rng.choice(nouns)} {rng.randrange(10, 1000)}"
    price = max(0.99, round(middle * rng.lognormvariate(0, 0.7)) - 0.01)
    return Product(f"p{number + 1:05d}", name, category, round(price, 2))


def _draw_table(products: list[Product], weights: np.ndarray, size: int) -> list[Product]:
    """Products repeated by weight, so that a uniform draw is a draw by popularity."""
    edges = np.cumsum(weights) / weights.sum()
    return [products[i] for i in np.searchsorted(edges, (np.arange(size) + 0.5) / size).tolist()]
