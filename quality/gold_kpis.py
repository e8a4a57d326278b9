"""gold.kpis_hourly: figures that are possible, and that are silver's."""

from __future__ import annotations

from quality.declaration import Suite, between, none

TABLE = "gold.kpis_hourly"
_COUNTS = ("page_views", "product_views", "clicks", "carts", "purchases", "searches", "unique_users")
_NEGATIVE = " OR ".join(f"{name} < 0 OR {name} IS NULL" for name in _COUNTS)

SUITES = (
    Suite(
        TABLE,
        f"""
        SELECT count(*) - count(DISTINCT hour_start) AS repeated_hours,
            count(*) FILTER ({_NEGATIVE}) AS impossible_counts,
            count(*) FILTER (revenue IS NULL OR revenue < 0 OR isinf(revenue) OR isnan(revenue)) AS impossible_revenue,
            count(*) FILTER (revenue > 0 AND purchases = 0) AS revenue_of_nothing,
            count(*) FILTER (unique_users < 1) AS without_users,
            count(*) FILTER (hour_start <> date_trunc('hour', hour_start) OR hour_date <> hour_start::DATE)
                AS odd_hours,
            count(*) FILTER (hour_start > now() + INTERVAL 1 HOUR) AS to_come
        FROM {TABLE} WHERE {{days}}
        """,  # noqa: S608 - the names are declared in this project
        (
            none("each_hour_once", "repeated_hours", "An hour has one row."),
            none("counts_are_possible", "impossible_counts", "No count is negative or missing."),
            none("revenue_is_possible", "impossible_revenue", "Revenue is finite and not negative."),
            none("revenue_has_purchases", "revenue_of_nothing", "Where there is revenue, something was bought."),
            none("hours_have_users", "without_users", "An hour in which something happened has users."),
            none("hours_are_hours", "odd_hours", "hour_start is a full hour of hour_date."),
            none("no_hour_is_to_come", "to_come", "No hour lies ahead.", "warn"),
        ),
        day_column="hour_date",
    ),
    Suite(
        TABLE,
        f"SELECT conversion_rate FROM {TABLE} WHERE NOT (conversion_rate BETWEEN 0 AND 1) AND {{days}} LIMIT 100",  # noqa: S608 - the names are declared in this project
        (between("conversion_is_a_rate", "conversion_rate", 0, 1, "The conversion rate is within 0 and 1.", "block"),),
        day_column="hour_date",
        part="conversion",
    ),
    Suite(
        TABLE,
        """
        WITH silver_hours AS (
            SELECT date_trunc('hour', event_time) AS hour_start, max(processed_at) AS newest,
                count(*) FILTER (event_type = 'page_view') AS page_views,
                count(*) FILTER (event_type = 'purchase') AS purchases, count(DISTINCT user_id) AS unique_users,
                coalesce(sum(amount) FILTER (event_type = 'purchase'
                    AND coalesce(payment_status, 'approved') = 'approved'), 0) AS revenue
            FROM silver.events WHERE {days} GROUP BY 1)
        SELECT count(*) FILTER (figures.hour_start IS NULL OR (silver_hours.page_views, silver_hours.purchases,
                silver_hours.unique_users) <> (figures.page_views, figures.purchases, figures.unique_users)) AS counted,
            count(*) FILTER (abs(silver_hours.revenue - figures.revenue) > 0.005 + 1e-9 * figures.revenue) AS earned
        FROM silver_hours LEFT JOIN gold.kpis_hourly AS figures USING (hour_start)
        WHERE newest < now() - INTERVAL 5 MINUTE
        """,
        (
            none("counts_are_silvers", "counted", "Counts equal silver.events, in hours at rest for five minutes."),
            none("revenue_is_silvers", "earned", "Revenue equals silver.events, in hours at rest for five minutes."),
        ),
        day_column="event_date",
        part="silver",
    ),
)
