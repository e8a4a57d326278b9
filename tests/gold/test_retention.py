from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gold import retention, user_days

pytestmark = pytest.mark.spark
MONDAY = date(2026, 3, 2)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
Days = list[tuple[str, int, bool]]
Key = tuple[str, str, date, int, str]


def days_frame(spark: Any, days: Days, timezone: str = "UTC") -> Any:
    """User days from (user, days since Monday, whether something was bought)."""
    rows = [(timezone, MONDAY + timedelta(days=day), user, bought) for user, day, bought in days]
    return spark.createDataFrame(rows, user_days.TABLE.schema)


def cells(spark: Any, days: Days, as_of: date, now: datetime = LATER, timezone: str = "UTC") -> dict[Key, Any]:
    rows = retention.cohort_retention(days_frame(spark, days, timezone), as_of, timezone, now).collect()
    found = {(r.granularity, r.activity, r.cohort_start, r.period_index, r.definition): r for r in rows}
    assert len(found) == len(rows), "a cell stands twice"
    return found


def curve(found: dict[Key, Any], definition: str, cohort: date = MONDAY, granularity: str = "day") -> list[int | None]:
    of_cohort = {
        key[3]: row.retained_users
        for key, row in found.items()
        if (key[0], key[1], key[2], key[4]) == (granularity, "any", cohort, definition)
    }
    return [of_cohort[index] for index in sorted(of_cohort)]


def test_the_published_example(spark):
    """PostHog's issue 13748: three users; n-day 100/33/0/0/0/33/0, unbounded 100/66/33/33/33/33/0."""
    days = [("a", 0, False), ("a", 1, False), ("b", 0, False), ("b", 5, False), ("c", 0, False)]
    found = cells(spark, days, MONDAY + timedelta(days=6))
    assert curve(found, "n_day") == [3, 1, 0, 0, 0, 1, 0]
    assert curve(found, "unbounded") == [3, 2, 1, 1, 1, 1, 0]


def test_future_cells_are_null_and_a_period_in_progress_is_not_complete(spark):
    days = [("a", 0, True), ("b", 8, False)]
    as_of = MONDAY + timedelta(days=9)
    found = cells(spark, days, as_of, now=datetime(2026, 3, 11, 15, tzinfo=UTC))
    second = MONDAY + timedelta(days=8)
    states = [
        (
            found["day", "any", second, index, "n_day"].retained_users,
            found["day", "any", second, index, "n_day"].is_complete,
        )
        for index in range(4)
    ]
    assert states == [(1, True), (0, False), (None, False), (None, False)]
    weeks = [found["week", "any", MONDAY, index, "n_day"] for index in (0, 1)]
    assert [(row.retained_users, row.retention_rate, row.is_complete) for row in weeks] == [
        (1, 1.0, True),
        (0, 0.0, False),
    ]
    assert found["week", "any", MONDAY + timedelta(days=7), 1, "unbounded"].retention_rate is None


def test_a_period_ends_with_the_day_of_the_time_zone(spark):
    days = [("a", 0, False)]
    before_midnight = datetime(2026, 3, 2, 22, 59, tzinfo=UTC)
    for now, is_complete in ((before_midnight, False), (before_midnight + timedelta(minutes=1), True)):
        found = cells(spark, days, MONDAY, now, "Europe/Berlin")
        assert found["day", "any", MONDAY, 0, "n_day"].is_complete is is_complete


def test_days_are_those_of_the_time_zone_also_when_clocks_change(events):
    moments = ["2026-03-28T22:59Z", "2026-03-28T23:00Z", "2026-03-29T21:59Z", "2026-03-29T22:00Z"]
    rows = [
        {"event_time": datetime.fromisoformat(moment), "event_type": "purchase" if number == 2 else "click"}
        for number, moment in enumerate(moments)
    ]
    days = user_days.user_days(events(rows), "Europe/Berlin")
    assert days.columns == user_days.TABLE.columns
    assert sorted((row.activity_date.day, row.purchased) for row in days.collect()) == [
        (28, False),
        (29, True),
        (30, False),
    ]


def test_purchase_cohorts_begin_with_the_first_purchase(spark):
    found = cells(spark, [("a", 0, False), ("a", 1, True), ("a", 3, True)], MONDAY + timedelta(days=3))
    row = found["day", "purchase", MONDAY + timedelta(days=1), 2, "n_day"]
    assert (row.cohort_size, row.retained_users) == (1, 1)
    assert ("day", "purchase", MONDAY, 0, "n_day") not in found


def test_a_stated_day_is_repeatable_and_knows_no_later_events(spark):
    days = [("a", 0, False), ("a", 2, False), ("b", 5, False)]
    as_of = MONDAY + timedelta(days=2)
    assert cells(spark, days, as_of) == cells(spark, days[:2], as_of)


def test_beyond_the_last_index_users_still_count_as_back(spark):
    found = cells(spark, [("a", 0, False), ("a", 200, False)], MONDAY + timedelta(days=210))
    assert max(key[3] for key in found if key[0] == "day") == 90
    assert (curve(found, "unbounded")[90], curve(found, "n_day")[90]) == (1, 0)


def start_of(granularity: str, day: date) -> date:
    if granularity == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if granularity == "month" else day


def later(granularity: str, start: date, periods: int) -> date:
    if granularity == "month":
        months = start.year * 12 + start.month - 1 + periods
        return date(months // 12, months % 12 + 1, 1)
    return start + timedelta(days=periods * (7 if granularity == "week" else 1))


def recomputed(days: Days, as_of: date) -> dict[Key, tuple[int, int | None, bool]]:
    """Retention again, the slow and plain way: (cohort_size, retained_users, is_complete) per cell."""
    result = {}
    for granularity in ("day", "week", "month"):
        for activity in ("any", "purchase"):
            starts_of: dict[str, set[date]] = defaultdict(set)
            for user, day, bought in days:
                moment = MONDAY + timedelta(days=day)
                if moment <= as_of and (bought or activity == "any"):
                    starts_of[user].add(start_of(granularity, moment))
            cohorts: dict[date, list[set[date]]] = defaultdict(list)
            for starts in starts_of.values():
                cohorts[min(starts)].append(starts)
            for cohort, members in cohorts.items():
                index = 0
                while later(granularity, min(cohorts), index) <= start_of(granularity, as_of):
                    begin, end = later(granularity, cohort, index), later(granularity, cohort, index + 1)
                    counts = {
                        "n_day": sum(begin in starts for starts in members),
                        "unbounded": sum(max(starts) >= begin for starts in members),
                    }
                    for definition, count in counts.items():
                        known = count if begin <= as_of else None
                        is_complete = end <= as_of + timedelta(days=1)
                        result[granularity, activity, cohort, index, definition] = (len(members), known, is_complete)
                    index += 1
    return result


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    days=st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 80), st.booleans()), min_size=1, max_size=25),
    until=st.integers(0, 85),
)
def test_equals_a_plain_recompute(spark, days, until):
    unique = {(user, day): bought for user, day, bought in days}
    listed = [(user, day, bought) for (user, day), bought in unique.items()]
    as_of = MONDAY + timedelta(days=until)
    found = cells(spark, listed, as_of)
    actual = {key: (row.cohort_size, row.retained_users, row.is_complete) for key, row in found.items()}
    assert actual == recomputed(listed, as_of)
    for row in found.values():
        expected = None if row.retained_users is None else row.retained_users / row.cohort_size
        assert row.retention_rate == expected
