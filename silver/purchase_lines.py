"""silver.purchase_lines: the lines of purchases, a view over silver.events."""

from silver.conditions import IS_PAID
from silver.views import SOURCE, View

VIEW = View(
    "silver.purchase_lines",
    "one line of an accepted purchase",
    {
        "event_id": "The purchase",
        "line": "Number of the line in it, from 1",
        "event_time": "When it was bought, UTC",
        "user_id": "Who bought",
        "order_id": "The order; one that is paid anew is another purchase with the same order_id",
        "is_paid": "Whether it counts as revenue: payment_status is approved or missing",
        "currency": "ISO 4217 code",
        "product_id": "The product",
        "quantity": "How many",
        "price": "Unit price",
        "line_amount": "quantity × price, exact; null where one of them is",
        "event_date": "Day of event_time, UTC",
    },
    f"""
    SELECT event_id, line, event_time, user_id, order_id, {IS_PAID} AS is_paid,
        currency, one.product_id AS product_id, one.quantity AS quantity, one.price AS price,
        one.quantity * one.price AS line_amount, event_date
    FROM (
        SELECT *, unnest(products) AS one, generate_subscripts(products, 1) AS line
        FROM {SOURCE} WHERE event_type = 'purchase')""",  # noqa: S608 - the names are declared in this project
)
