from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gold import kpis

pytestmark = pytest.mark.spark
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def purchase(amount: float, status: str | None = None, user: str = "u1") -> dict[str, Any]:
    return {"event_type": "purchase", "amount": amount, "payment_status": status, "user_id": user}


def test_counts_each_kind_of_event(events):
    shop = events(
        [
            {"event_type": "page_view"},
            {"event_type": "page_view", "product_id": "p"},
            {"event_type": "product_view", "product_id": "p"},
            {"event_type": "click"},
            {"event_type": "add_to_cart", "product_id": "p"},
            {"event_type": "add_to_wishlist", "product_id": "p"},
            {"event_type": "search", "user_id": "u2"},
            purchase(10.5, "approved"),
            purchase(4.5, "declined", "u2"),
        ]
    )
    row = kpis.hourly(shop).first()
    assert row.asDict() == {
        "hour_start": datetime(2026, 3, 2, 12),
        "page_views": 2,
        "product_views": 2,
        "clicks": 1,
        "carts": 1,
        "purchases": 2,
        "searches": 1,
        "revenue": 10.5,
        "unique_users": 2,
        "conversion_rate": 0.5,
        "hour_date": NOON.date(),
    }


def test_has_the_declared_columns(events):
    declared = [(field.name, field.dataType) for field in kpis.TABLE.schema if field.name != "updated_at"]
    assert [(field.name, field.dataType) for field in kpis.hourly(events([{}])).schema] == declared


def test_hours_without_a_purchase_have_no_revenue_and_no_conversion(events):
    row = kpis.hourly(events([{}, {"event_time": NOON + timedelta(hours=1)}])).first()
    assert (row.revenue, row.conversion_rate) == (0.0, 0.0)


def test_revenue_does_not_depend_on_the_order_of_the_purchases(events):
    amounts = [0.1, 1e22, 0.2, 0.3, 1e-4, 123456.78, 1e30, 1.7e29, 3.3e24] * 7
    sums = {
        kpis.hourly(events([purchase(amount, user=f"u{n % 3}") for n, amount in enumerate(order)])).first().revenue
        for order in (amounts, amounts[::-1], sorted(amounts))
    }
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(sum(amounts))


def test_absurd_amounts_neither_stop_the_stream_nor_vanish(events):
    row = kpis.hourly(events([purchase(1.5e308), purchase(3.0), purchase(0.0)])).first()
    assert (row.revenue, row.purchases) == (1.5e308, 3)


def test_equals_a_recompute_in_duckdb(random_events, duckdb_rows):
    expected = duckdb_rows(
        """
        SELECT date_trunc('hour', event_time) AS hour_start,
               count(*) FILTER (event_type = 'page_view'),
               count(*) FILTER (event_type IN ('page_view', 'product_view') AND product_id IS NOT NULL),
               count(*) FILTER (event_type = 'click'), count(*) FILTER (event_type = 'add_to_cart'),
               count(*) FILTER (event_type = 'purchase'), count(*) FILTER (event_type = 'search'),
               coalesce(sum(amount::DECIMAL(28, 4)) FILTER (paid), 0)::DOUBLE,
               count(DISTINCT user_id), count(DISTINCT user_id) FILTER (paid) / count(DISTINCT user_id)
        FROM (SELECT *, event_type = 'purchase' AND coalesce(payment_status, 'approved') = 'approved' AS paid
              FROM events)
        GROUP BY hour_start
        """
    )
    actual = [tuple(row)[:-1] for row in kpis.hourly(random_events).collect()]
    assert sorted(actual) == sorted(expected)
