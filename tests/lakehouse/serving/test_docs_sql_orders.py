"""docs/how-to/sql.md counts orders, not purchases: retried payments, reloaded pages, repeated lines, currencies."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lakehouse.sql_names import VIEWS

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "sql.md").read_text(encoding="utf-8")
PURCHASES = """
INSERT INTO silver.events BY NAME
SELECT event_id, 'purchase' AS event_type, order_id, status AS payment_status, currency, amount, event_time,
    event_time::DATE AS event_date,
    [{'product_id': id, 'quantity': if(id = 'c', NULL, 1), 'price': 1.5} FOR id IN string_split(ids, ' ')] AS products
FROM (VALUES
    ('e1', 'o1', 'declined', 'EUR', 10, TIMESTAMPTZ '2026-09-01 10:00:00+00', 'a b'),
    ('e2', 'o1', 'approved', 'EUR', 10, TIMESTAMPTZ '2026-09-01 10:01:00+00', 'a b'),
    ('e3', 'o1', NULL, 'EUR', 10, TIMESTAMPTZ '2026-09-02 00:05:00+00', 'a b'),
    ('e4', 'o2', NULL, 'EUR', 5, TIMESTAMPTZ '2026-09-01 11:00:00+00', 'a a b b c'),
    ('e5', 'o3', 'approved', 'JPY', 3000, TIMESTAMPTZ '2026-09-01 12:00:00+00', 'a'),
    ('e6', 'o4', 'approved', NULL, 7, TIMESTAMPTZ '2026-09-01 13:00:00+00', 'c'),
    ('e8', 'o6', NULL, ' eur', 20, TIMESTAMPTZ '2026-09-01 13:00:00+00', 'c'),
    ('e7', 'o5', 'declined', 'EUR', 900, TIMESTAMPTZ '2026-09-01 14:00:00+00', 'b c')
) AS sent (event_id, order_id, status, currency, amount, event_time, ids)
"""
LOOKS = """
INSERT INTO silver.events BY NAME
SELECT event_id, 'product_view' AS event_type, product_id, product_name, category, price,
    TIMESTAMPTZ '2026-09-01 10:00:00+00' + to_minutes(minute) AS event_time
FROM (VALUES
    ('v2', 2, 'a', NULL, 'Lamps', NULL), ('v1', 1, 'a', 'A lamp', 'Light', 9.5), ('v3', 2, 'a', 'My lamp', NULL, 12.5),
    ('v4', 0, 'b', NULL, NULL, NULL),
) AS seen (event_id, minute, product_id, product_name, category, price)
"""


@pytest.fixture(scope="module")
def shop(empty_lake: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    for view in VIEWS.values():
        empty_lake.execute(f"CREATE VIEW {view.full_name} AS {view.sql}")
    empty_lake.execute(PURCHASES)
    empty_lake.execute(LOOKS)
    return empty_lake


def answer(shop: duckdb.DuckDBPyConnection, question: str) -> list[tuple[Any, ...]]:
    found = re.search(rf"^{question}.*?\n```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return shop.execute(found.group(1)).fetchall()


def test_an_order_is_paid_once_and_in_its_currency(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, "Revenue per day and currency")
    assert [(str(day), *rest) for day, *rest in rows] == [
        ("2026-09-01", "JPY", 1, 3000), ("2026-09-01", "EUR", 3, 35), ("2026-09-01", "unknown", 1, 7),
    ]  # fmt: skip


def test_what_was_declined_or_tried_again_is_not_bought_twice(shop: duckdb.DuckDBPyConnection) -> None:
    shop.execute("""INSERT INTO gold.kpis_hourly BY NAME
        SELECT unnest([TIMESTAMPTZ '2026-09-01 10:00:00+00', TIMESTAMPTZ '2026-09-01 11:00:00+00']) AS hour_start,
            100 AS product_views, 10 AS carts, 4 AS purchases""")
    shop.execute("""INSERT INTO gold.revenue_hourly BY NAME
        SELECT TIMESTAMPTZ '2026-09-01 10:00:00+00' AS hour_start, unnest(['EUR', 'JPY']) AS currency, 3 AS purchases,
            1 AS orders""")
    (row,) = answer(shop, "4. How many get from a product view")
    assert row[1:] == (200, 20, 2, 0.01)


def test_a_product_is_what_is_known_last_of_each_of_its_facts(shop: duckdb.DuckDBPyConnection) -> None:
    assert shop.execute("FROM gold.products ORDER BY product_id").fetchall() == [
        ("a", "My lamp", "Lamps", Decimal("12.5")), ("b", None, None, None),
    ]  # fmt: skip


def test_a_purchase_has_a_row_per_line(shop: duckdb.DuckDBPyConnection) -> None:
    asked = "SELECT line, product_id, quantity, line_amount, is_paid FROM silver.purchase_lines WHERE event_id = {}"
    (first, second) = shop.execute(f"{asked.format(repr('e1'))} ORDER BY line").fetchall()
    assert (first, second) == ((1, "a", 1, Decimal("1.5"), False), (2, "b", 1, Decimal("1.5"), False))
    assert [row[4] for row in shop.execute(asked.format("'e3'")).fetchall()] == [True, True]


def test_revenue_of_a_category_is_one_question(shop: duckdb.DuckDBPyConnection) -> None:
    """Lamp a: in o1, which is paid twice, in o2 twice, and in o3. Declined o5 does not count."""
    assert answer(shop, "Revenue per category and currency") == [
        ("unknown", "EUR", 3, Decimal("9")), ("Lamps", "EUR", 2, Decimal("6")), ("Lamps", "JPY", 1, Decimal("1.5")),
        ("unknown", "unknown", 1, Decimal("1.5")),
    ]  # fmt: skip


def test_repeated_lines_and_records_are_one_order(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, "The products that are bought together")
    assert rows == [("a", "b", 2), ("a", "c", 1), ("b", "c", 1)]


def test_an_hour_that_earned_nothing_earned_less_and_the_running_one_may_yet_earn(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    evenings = "TIMESTAMPTZ '2026-08-01 20:00:00+00' + to_days(day::INT) AS hour_start"
    shop.execute(f"INSERT INTO gold.kpis_hourly BY NAME SELECT {evenings} FROM range(4) AS days(day)")
    shop.execute(f"""INSERT INTO gold.revenue_hourly BY NAME
        SELECT {evenings}, 'EUR' AS currency, 100 AS revenue FROM range(3) AS days(day)""")
    same_hours = "date_trunc('hour', now()) - to_days(day::INT) AS hour_start"
    shop.execute(f"INSERT INTO gold.kpis_hourly BY NAME SELECT {same_hours} FROM range(4) AS days(day)")
    shop.execute(f"""INSERT INTO gold.revenue_hourly BY NAME
        SELECT {same_hours}, 'EUR' AS currency, if(day = 0, 1, 100) AS revenue FROM range(4) AS days(day)""")
    rows = answer(shop, "6. Which hours earned far less")
    assert [(str(at)[:13], *rest) for at, *rest in rows if rest[-1]] == [("2026-08-04 20", "EUR", 0, 100, True)]


def test_a_product_that_got_another_name_is_one_product(shop: duckdb.DuckDBPyConnection) -> None:
    shop.execute("""INSERT INTO gold.top_products_hourly BY NAME
        SELECT date_trunc('hour', now()) - to_hours(age) AS hour_start, 'a' AS product_id, name AS product_name,
            10 AS views, 1 AS rank FROM (VALUES (3, NULL), (2, 'New'), (4, 'Old'), (1, NULL)) AS hours(age, name)""")
    assert answer(shop, "5. Which products were among") == [("a", "New", 4, 40, 1)]
