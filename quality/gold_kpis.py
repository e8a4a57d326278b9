"""gold.kpis_hourly: figures that are possible, and that are silver's."""

from __future__ import annotations

from quality.declaration import no_row, of_rows

TABLE = "gold.kpis_hourly"
HOUR = "hour_start::TIMESTAMP"
_COUNTS = ("page_views", "product_views", "clicks", "carts", "purchases", "searches", "unique_users")
_NEGATIVE = " OR ".join(f"{name} < 0 OR {name} IS NULL" for name in _COUNTS)

SUITES = (
    of_rows(
        TABLE,
        HOUR,
        f"SELECT *, count(*) OVER (PARTITION BY hour_start) AS seen FROM {TABLE} WHERE {{days}}",  # noqa: S608 - the names are declared in this project
        (
            no_row("each_hour_once", "seen > 1", "An hour has one row."),
            no_row("counts_are_possible", _NEGATIVE, "No count is negative or missing."),
            no_row(
                "revenue_is_possible",
                "revenue IS NULL OR revenue < 0 OR isinf(revenue) OR isnan(revenue)",
                "Revenue is finite and not negative.",
            ),
            no_row(
                "revenue_has_purchases",
                "revenue > 0 AND purchases = 0",
                "Where there is revenue, something was bought.",
            ),
            no_row("hours_have_users", "unique_users < 1", "An hour in which something happened has users."),
            no_row(
                "hours_are_hours",
                "hour_start <> date_trunc('hour', hour_start) OR hour_date <> hour_start::DATE",
                "hour_start is a full hour of hour_date.",
            ),
            no_row("no_hour_is_to_come", "hour_start > now() + INTERVAL 1 HOUR", "No hour lies ahead.", "warn"),
            no_row(
                "conversion_is_a_rate",
                "NOT conversion_rate BETWEEN 0 AND 1",
                "The conversion rate is within 0 and 1.",
            ),
        ),
        day_column="hour_date",
    ),
    of_rows(
        TABLE,
        HOUR,
        """
        WITH silver_hours AS (
            SELECT date_trunc('hour', event_time) AS hour_start, max(processed_at) AS newest,
                count(*) FILTER (event_type = 'page_view') AS page_views,
                count(*) FILTER (event_type = 'purchase') AS purchases, count(DISTINCT user_id) AS unique_users,
                coalesce(sum(amount) FILTER (event_type = 'purchase'
                    AND coalesce(payment_status, 'approved') = 'approved'), 0) AS revenue
            FROM silver.events WHERE {days} GROUP BY 1)
        SELECT hour_start, figures.hour_start IS NULL OR (silver_hours.page_views, silver_hours.purchases,
                silver_hours.unique_users) <> (figures.page_views, figures.purchases, figures.unique_users) AS counted,
            abs(silver_hours.revenue - figures.revenue) > 0.005 + 1e-9 * figures.revenue AS earned
        FROM silver_hours LEFT JOIN gold.kpis_hourly AS figures USING (hour_start)
        WHERE newest < now() - INTERVAL 5 MINUTE
        """,
        (
            no_row("counts_are_silvers", "counted", "Counts equal silver.events, in hours at rest for five minutes."),
            no_row("revenue_is_silvers", "earned", "Revenue equals silver.events, in hours at rest for five minutes."),
        ),
        day_column="event_date",
        part="silver",
    ),
)
