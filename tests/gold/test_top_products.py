from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gold import top_products
from tests.support.rolling import last_hour

pytestmark = pytest.mark.spark
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def view(product: str, minutes: float = 0, user: str = "u1", **more: Any) -> dict[str, Any]:
    return {"product_id": product, "event_time": at(minutes), "user_id": user, **more}


def ranks(frame: Any) -> list[tuple[Any, ...]]:
    columns = ["rank", "product_id", "product_name", "views", "unique_viewers"]
    return sorted(tuple(row[name] for name in columns) for row in frame.collect())


def test_counts_views_and_distinct_viewers_and_breaks_ties_by_product(events):
    shop = events(
        [
            view("b", 1, "u1"),
            view("b", 2, "u1"),
            view("a", 3, "u2"),
            view("a", 4, "u3"),
            view("c", 5, "u9", event_type="page_view"),
            view("c", 6, "u9", event_type="add_to_cart"),
            {"event_type": "page_view"},
        ]
    )
    assert ranks(top_products.hourly(shop, 10)) == [(1, "a", None, 2, 2), (2, "b", None, 2, 1), (3, "c", None, 1, 1)]
    assert [row[1] for row in ranks(top_products.hourly(shop, 2))] == ["a", "b"]


def test_shows_the_latest_name_that_is_known(events):
    shop = events(
        [
            view("a", 3, product_name="new", event_id="e2"),
            view("a", 3, product_name="old", event_id="e1"),
            view("a", 4),
            view("a", 1, product_name="oldest"),
        ]
    )
    assert ranks(top_products.hourly(shop, 1)) == [(1, "a", "new", 4, 1)]


def test_the_last_hour_rolls(events):
    shop = events([view("out", -60), view("in", -59.9), view("in", 0), view("later", 0.1)])
    rows = last_hour(shop, as_of=at(0), top_n=5)
    assert rows.columns == top_products.LAST_HOUR.columns
    assert ranks(rows) == [(1, "in", None, 2, 1)]
    assert rows.first().window_start.replace(tzinfo=UTC) == at(-60)
    assert last_hour(shop, as_of=at(120), top_n=5).count() == 0


def test_equals_a_recompute_in_duckdb(random_events, duckdb_rows):
    expected = duckdb_rows(
        """
        WITH views AS (
            SELECT *, date_trunc('hour', event_time) AS hour_start FROM events
            WHERE event_type IN ('product_view', 'page_view') AND product_id IS NOT NULL
        ), ranked AS (
            SELECT hour_start, product_id, count(*) AS views, count(DISTINCT user_id) AS viewers,
                   arg_max(product_name, (event_time, event_id)) FILTER (product_name IS NOT NULL) AS name,
                   row_number() OVER (PARTITION BY hour_start ORDER BY count(*) DESC, product_id) AS rank
            FROM views GROUP BY hour_start, product_id
        )
        SELECT hour_start, rank, product_id, name, views, viewers FROM ranked WHERE rank <= 4
        """
    )
    actual = [tuple(row) for row in top_products.hourly(random_events, 4).collect()]
    assert sorted(actual) == sorted(expected)
    assert len(expected) > 8
