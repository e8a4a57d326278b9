"""gold.kpis_hourly and gold.revenue_hourly: figures that are possible, and that are silver's."""

from gold.revenue import CURRENCY_SQL, UNKNOWN
from quality.declaration import no_row, seen, suite
from silver.conditions import IS_PAID

TABLE, REVENUE = "gold.kpis_hourly", "gold.revenue_hourly"
HOUR = "hour_start::TIMESTAMP"
_COUNTS = ("page_views", "product_views", "clicks", "carts", "purchases", "searches", "unique_users")
_HOURS_ARE_HOURS = no_row(
    "hours_are_hours",
    "hour_start <> date_trunc('hour', hour_start) OR hour_date <> hour_start::DATE",
    "hour_start is a full hour of hour_date.",
)
_NEGATIVE = " OR ".join(f"{name} < 0 OR {name} IS NULL" for name in _COUNTS)

SUITES = (
    suite(
        TABLE,
        seen(TABLE, "hour_start"),
        no_row("each_hour_once", "seen > 1", "An hour has one row."),
        no_row("counts_are_possible", _NEGATIVE, "No count is negative or missing."),
        no_row(
            "revenue_is_possible",
            "revenue < 0 OR (revenue IS NULL AND purchases = 0)",
            "Revenue is not negative, and only unknown where something was bought.",
        ),
        no_row(
            "revenue_has_one_currency",
            "revenue IS NULL",
            "An hour was paid in one currency, or SHOPLAKE_CURRENCY says which one counts.",
            "warn",
        ),
        no_row(
            "revenue_has_purchases", "revenue > 0 AND purchases = 0", "Where there is revenue, something was bought."
        ),
        no_row("hours_have_users", "unique_users < 1", "An hour in which something happened has users."),
        _HOURS_ARE_HOURS,
        no_row("no_hour_is_to_come", "hour_start > now() + INTERVAL 1 HOUR", "No hour lies ahead.", "warn"),
        no_row("conversion_is_a_rate", "NOT conversion_rate BETWEEN 0 AND 1", "The conversion rate is within 0 and 1."),
        day_column="hour_date",
        unit=HOUR,
    ),
    suite(
        TABLE,
        f"""
        WITH silver_hours AS (
            SELECT date_trunc('hour', event_time) AS hour_start, max(processed_at) AS newest,
                count(*) FILTER (event_type = 'page_view') AS page_views,
                count(*) FILTER (event_type = 'purchase') AS purchases, count(DISTINCT user_id) AS unique_users
            FROM silver.events WHERE {{days}} GROUP BY 1),
        paid AS (
            SELECT date_trunc('hour', event_time) AS hour_start, {CURRENCY_SQL} AS currency, sum(amount) AS amount
            FROM silver.events WHERE {IS_PAID} AND {{days}} GROUP BY 1, 2),
        sold AS (
            SELECT hour_start, sum(amount) AS amount FROM paid JOIN {TABLE} AS figures USING (hour_start)
            WHERE paid.currency IN (figures.currency, '{UNKNOWN}') GROUP BY 1)
        SELECT hour_start, figures.hour_start IS NULL OR (silver_hours.page_views, silver_hours.purchases,
                silver_hours.unique_users) <> (figures.page_views, figures.purchases, figures.unique_users) AS counted,
            figures.currency IS NOT NULL AND figures.revenue <> coalesce(sold.amount, 0) AS earned
        FROM silver_hours LEFT JOIN {TABLE} AS figures USING (hour_start) LEFT JOIN sold USING (hour_start)
        WHERE newest < now() - INTERVAL 5 MINUTE
        """,  # noqa: S608 - the names are declared in this project
        no_row("counts_are_silvers", "counted", "Counts equal silver.events, in hours at rest for five minutes."),
        no_row("revenue_is_silvers", "earned", "Revenue equals silver.events, in hours at rest for five minutes."),
        day_column="event_date",
        unit=HOUR,
    ),
    suite(
        REVENUE,
        seen(REVENUE, "hour_start, currency"),
        no_row("each_currency_once", "seen > 1", "An hour has each currency once."),
        no_row(
            "figures_are_possible",
            "currency IS NULL OR revenue IS NULL OR revenue < 0 OR purchases < 1 OR orders NOT BETWEEN 0 AND purchases",
            "Something was sold in a currency, at no negative price, and an order has purchases.",
        ),
        _HOURS_ARE_HOURS,
        day_column="hour_date",
        unit=HOUR,
    ),
    suite(
        REVENUE,
        f"""
        WITH paid AS (
            SELECT date_trunc('hour', event_time) AS hour_start, {CURRENCY_SQL} AS currency, count(*) AS purchases,
                count(DISTINCT order_id) AS orders, sum(amount) AS amount, max(processed_at) AS newest
            FROM silver.events WHERE {IS_PAID} AND {{days}} GROUP BY 1, 2)
        SELECT hour_start FROM paid LEFT JOIN {REVENUE} AS told USING (hour_start, currency)
        WHERE newest < now() - INTERVAL 5 MINUTE
            AND (paid.purchases, paid.orders, paid.amount) IS DISTINCT FROM (told.purchases, told.orders, told.revenue)
        """,  # noqa: S608 - the names are declared in this project
        no_row("is_silvers", "true", "Revenue equals silver.events, in hours at rest for five minutes."),
        day_column="event_date",
        unit=HOUR,
    ),
)
