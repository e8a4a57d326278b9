from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gold import fraud_coverage

pytestmark = pytest.mark.spark
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def purchase(**fields: Any) -> dict[str, Any]:
    return {"event_type": "purchase", "amount": 1.0, **fields}


def statuses(frame: Any) -> dict[str, tuple[int, int, str]]:
    return {row.rule_id: (row.events_considered, row.events_evaluable, row.status) for row in frame.collect()}


def test_missing_fields_are_not_evaluable_never_clean(events):
    shop = events([purchase(), purchase(), {"event_type": "search"}])
    assert statuses(fraud_coverage.hourly(shop)) == {
        "purchase_velocity": (2, 2, "evaluable"),
        "card_testing": (2, 0, "not evaluable"),
        "bot_browsing": (0, 0, "not evaluable"),
        "account_ring": (2, 0, "not evaluable"),
        "account_sharing": (3, 0, "not evaluable"),
        "impossible_travel": (3, 0, "not evaluable"),
    }


def test_one_field_of_a_group_is_enough_and_some_events_make_it_partly(events):
    shop = events(
        [
            purchase(ip="i", country="DE", card_fingerprint="c"),
            purchase(device_id="d", country="XX", payment_status="declined"),
            {},
        ]
    )
    assert statuses(fraud_coverage.hourly(shop)) == {
        "purchase_velocity": (1, 1, "evaluable"),
        "card_testing": (2, 1, "partly evaluable"),
        "bot_browsing": (1, 1, "evaluable"),
        "account_ring": (1, 1, "evaluable"),
        "account_sharing": (3, 1, "partly evaluable"),
        "impossible_travel": (3, 1, "partly evaluable"),
    }


def test_has_a_row_per_hour_and_rule_with_the_declared_columns(events):
    rows = fraud_coverage.hourly(events([{}, {"event_time": NOON + timedelta(hours=2)}]))
    assert rows.count() == 12
    declared = [(field.name, field.dataType) for field in fraud_coverage.TABLE.schema.fields[:-2]]
    assert [(field.name, field.dataType) for field in rows.schema] == declared
