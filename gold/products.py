"""gold.products: the latest known data of each product, a view over silver.events.

Why no table: docs/decisions/products.md.
"""

from silver.views import SOURCE, View

_NEWEST = "arg_max({0}, (event_time, event_id)) FILTER ({0} IS NOT NULL) AS {0}"
VIEW = View(
    "gold.products",
    "a product that an event was about",
    {
        "product_id": "The product",
        "product_name": "Its latest known name; null while no event carried one",
        "category": "Its latest known category",
        "price": "Its latest known unit price",
    },
    f"""
    SELECT product_id, {", ".join(map(_NEWEST.format, ("product_name", "category", "price")))}
    FROM {SOURCE} WHERE product_id IS NOT NULL GROUP BY product_id""",
)
