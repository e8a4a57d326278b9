"""Refused records come home once each when several ask at once; fifty at once: tests/e2e/test_quarantine_desk.py.

The oracle is not told of them, so this file runs after those that compare the lake with it.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from lakehouse.lake import Lake
from lakehouse.session import connect
from producer.publish import publish
from tests.support.refused import AGES, VIEWS, assert_identity, replayed, view
from tests.support.shop import Shop

pytestmark = pytest.mark.e2e

AT_ONCE = 4
OURS = "event_id in ('view-100', 'view-101', 'view-102', 'view-103')"


@pytest.mark.nightly
def test_replays_at_once_bring_each_record_home_once(shop: Shop) -> None:
    began = datetime.now(UTC)
    priced = [view(100 + number, "19.90", age) for number, age in enumerate(AGES)]
    publish([*priced, priced[0]], shop.settings)
    shop.wait_until_read()
    assert shop.ask(f"select * from silver.events where {OURS}") == []
    sessions = [connect(shop.settings) for _ in range(2)]
    lakes = [Lake(session, shop.settings) for session in sessions]
    how = {"reason": "wrong_type", "topic": VIEWS, "from_time": began.isoformat(), "fix": "cast data.price=number"}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(replayed, lakes[number % 2], **how) for number in range(AT_ONCE)]
        outcomes = [run.result() for run in runs]
    for session in sessions:
        session.stop()
    assert sum(each["accepted"] for each in outcomes) == len(AGES), "each was accepted in one run"
    rows = shop.ask(f"select event_id, price from silver.events where {OURS} order by 1")
    assert rows == [{"event_id": f"view-{100 + number}", "price": Decimal("19.9")} for number in range(len(AGES))]
    states = f"select distinct status from silver.quarantine where quarantined_at >= '{began:%Y-%m-%d %H:%M:%S}'"
    assert shop.ask(f"{states} and reason_code = 'wrong_type'") == [{"status": "resolved"}]
    shop.wait_until_read()
    assert_identity(shop)
