from decimal import Decimal

import duckdb
import pytest

from gold import revenue

pytestmark = pytest.mark.spark


def test_counts_orders_and_sums_what_was_paid_by_currency(events):
    paid = [
        {"order_id": "o1", "amount": 10.00004, "currency": "EUR"},
        {"order_id": "o1", "amount": 10.00004, "currency": "eur "},
        {"order_id": "o1", "amount": 12000.0, "currency": "JPY"},
        {"order_id": "o2", "amount": 1e-9, "currency": "JPY", "payment_status": "approved"},
        {"order_id": "o3", "amount": 7.0, "currency": " \t"},
        {"order_id": "o4", "amount": 99.0, "currency": "USD", "payment_status": "declined"},
    ]
    rows = [{"event_type": "purchase", **each} for each in paid] + [{"event_type": "click"}]
    found = {row.currency: row for row in revenue.hourly(events(rows)).collect()}
    assert {name: (row.purchases, row.orders, row.revenue) for name, row in found.items()} == {
        "EUR": (2, 1, Decimal("20.00008")),
        "JPY": (2, 2, Decimal("12000.000000001")),
        "unknown": (1, 1, Decimal("7")),
    }


ODD = {
    "EUR\u00a0": "EUR", "\u202feur": "EUR", "\u3000EUR\u2003": "EUR", "EUR\t\n": "EUR", "\u200bEUR": "EUR",
    "eur\x0b": "EUR", "\u00a0\u20ac": "\u00a0\u20ac", "E UR": "E UR", "euro": "euro", "978": "978",
    "\uff25\uff35\uff32": "\uff25\uff35\uff32", "\u00a0": "unknown", "": "unknown", None: "unknown",
}  # fmt: skip


def test_a_currency_has_one_spelling_in_both_engines(events):
    rows = [{"event_type": "purchase", "currency": each} for each in ODD]
    found = {
        row.currency: row.told for row in events(rows).select("currency", revenue.currency().alias("told")).collect()
    }
    assert found == ODD
    told = f"SELECT {revenue.CURRENCY_SQL} FROM (SELECT unnest(?::VARCHAR[]) AS currency)"
    with duckdb.connect() as connection:
        assert connection.execute(told, [list(ODD)]).fetchall() == [(each,) for each in ODD.values()]


def test_has_the_declared_columns(events):
    declared = [(field.name, field.dataType) for field in revenue.TABLE.schema][:-2]
    assert [(field.name, field.dataType) for field in revenue.hourly(events([{}])).schema] == declared


def test_equals_a_recompute_in_duckdb(random_events, duckdb_rows):
    expected = duckdb_rows(
        """
        SELECT date_trunc('hour', event_time) AS hour_start,
            CASE WHEN upper(trim(currency)) IN ('EUR', 'JPY') THEN upper(trim(currency))
                ELSE coalesce(nullif(currency, ''), 'unknown') END AS cur,
            count(*), count(DISTINCT order_id), sum(amount)
        FROM events WHERE event_type = 'purchase' AND coalesce(payment_status, 'approved') = 'approved'
        GROUP BY ALL
        """
    )
    actual = [tuple(row) for row in revenue.hourly(random_events).collect()]
    assert sorted(actual) == sorted(expected)
