from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
        "revenue": Decimal("10.5"),
        "currency": "unknown",
        "unique_users": 2,
        "conversion_rate": 0.5,
    }


def test_has_the_declared_columns(events):
    declared = [(field.name, field.dataType) for field in kpis.TABLE.schema][:-2]
    assert [(field.name, field.dataType) for field in kpis.hourly(events([{}])).schema] == declared


def test_hours_without_a_purchase_have_no_revenue_and_no_conversion(events):
    row = kpis.hourly(events([{}, {"event_time": NOON + timedelta(hours=1)}])).first()
    assert (row.revenue, row.currency, row.conversion_rate) == (0, None, 0.0)


def test_revenue_is_the_exact_sum(events):
    hours = [[(0.00004, 200)], [(10.00004, 150)], [(1e12, 3), (1e-9, 1)]]
    rows = [
        purchase(amount, user=f"u{hour}-{number}-{amount}") | {"event_time": NOON + timedelta(hours=hour)}
        for hour, amounts in enumerate(hours)
        for amount, count in amounts
        for number in range(count)
    ]
    found = kpis.hourly(events(rows)).orderBy("hour_start").collect()
    assert [row.revenue for row in found] == [Decimal("0.008"), Decimal("1500.006"), Decimal("3000000000000.000000001")]


@pytest.mark.parametrize(
    ("shop", "told"), [(None, (None, None)), ("EUR", (Decimal("101.5"), "EUR")), ("USD", (Decimal("1.5"), "USD"))]
)
def test_revenue_is_never_a_mixture_of_currencies(events, shop, told):
    paid = [(100.0, "EUR"), (12000.0, "JPY"), (35.5, "KWD"), (1.5, None)]
    row = kpis.hourly(events([purchase(amount) | {"currency": currency} for amount, currency in paid]), shop).first()
    assert ((row.revenue, row.currency), row.purchases) == (told, 4)


def test_the_only_currency_of_an_hour_is_told(events):
    rows = [purchase(1.0) | {"currency": " eur"}, purchase(2.0) | {"currency": "EUR"}, purchase(9.0, "declined")]
    row = kpis.hourly(events(rows)).first()
    assert (row.revenue, row.currency) == (3, "EUR")


def test_equals_a_recompute_in_duckdb(random_events, duckdb_rows):
    expected = duckdb_rows(
        """
        SELECT date_trunc('hour', event_time) AS hour_start,
               count(*) FILTER (event_type = 'page_view'),
               count(*) FILTER (event_type IN ('page_view', 'product_view') AND product_id IS NOT NULL),
               count(*) FILTER (event_type = 'click'), count(*) FILTER (event_type = 'add_to_cart'),
               count(*) FILTER (event_type = 'purchase'), count(*) FILTER (event_type = 'search'),
               CASE WHEN count(DISTINCT cur) FILTER (paid) < 2 THEN coalesce(sum(amount) FILTER (paid), 0) END,
               CASE WHEN count(DISTINCT cur) FILTER (paid) < 2 THEN min(cur) FILTER (paid) END,
               count(DISTINCT user_id), count(DISTINCT user_id) FILTER (paid) / count(DISTINCT user_id)
        FROM (SELECT *, event_type = 'purchase' AND coalesce(payment_status, 'approved') = 'approved' AS paid,
              CASE WHEN upper(trim(currency)) IN ('EUR', 'JPY') THEN upper(trim(currency))
                  ELSE coalesce(nullif(currency, ''), 'unknown') END AS cur FROM events)
        GROUP BY hour_start
        """
    )
    actual = [tuple(row) for row in kpis.hourly(random_events).collect()]
    assert sorted(actual) == sorted(expected)
