"""gold.top_products_hourly and gold.top_products_last_hour: ranks that are ranks."""

from quality.declaration import between, no_row, none, suite
from quality.gold_kpis import HOUR

HOURLY, LAST_HOUR = "gold.top_products_hourly", "gold.top_products_last_hour"
_RANKS = """
    SELECT *, row_number() OVER (PARTITION BY {period} ORDER BY views DESC, product_id) AS place,
        count(*) OVER (PARTITION BY {period}, "rank") AS same_rank,
        count(*) OVER (PARTITION BY {period}, product_id) AS same_product,
        product_id IS NULL OR {period} IS NULL OR "rank" IS NULL AS is_missing FROM {table} WHERE {where}
"""
_ARE_RANKS = (
    no_row("each_rank_once", "same_rank > 1", "A period has each rank once."),
    no_row("each_product_once", "same_product > 1", "A period has each product once."),
    no_row("is_complete", "is_missing", "Period, rank and product are there."),
    no_row("ranks_follow_views", '"rank" <> place', "Ranks are 1, 2, 3, … by views, then product."),
    no_row(
        "viewers_are_possible",
        "unique_viewers < 1 OR unique_viewers > views",
        "At least one viewer, and at most one per view.",
    ),
)

SUITES = (
    suite(
        HOURLY,
        _RANKS.format(period="hour_start", table=HOURLY, where="{days}"),
        *_ARE_RANKS,
        no_row("status_is_known", "status NOT IN ('provisional', 'final')", "Provisional or final."),
        day_column="hour_date",
        unit=HOUR,
    ),
    suite(
        HOURLY,
        """
        WITH ranked AS (SELECT hour_start, sum(views) AS views FROM gold.top_products_hourly WHERE {days} GROUP BY 1)
        SELECT hour_start FROM ranked LEFT JOIN gold.kpis_hourly AS figures USING (hour_start)
        WHERE ranked.views > coalesce(figures.product_views, 0) AND hour_start < now() - INTERVAL 2 HOUR
        """,
        no_row("views_are_in_the_figures", "true", "No hour ranks more views than it had."),
        day_column="hour_date",
        unit=HOUR,
    ),
    # The rows of the last hour are one window: no unit of it can be shown without the rest.
    suite(LAST_HOUR, _RANKS.format(period="as_of", table=LAST_HOUR, where="true"), *_ARE_RANKS),
    suite(
        LAST_HOUR,
        f"""
        SELECT count(DISTINCT as_of) AS windows,
            count(*) FILTER (as_of - window_start <> INTERVAL 60 MINUTES) AS other_length FROM {LAST_HOUR}
        """,  # noqa: S608 - the names are declared in this project
        between("is_one_window", "windows", 0, 1, "All rows are of one window.", "block"),
        none("is_an_hour", "other_length", "The window is 60 minutes long."),
    ),
    suite(
        LAST_HOUR,
        # No row is right after an hour without a view, and wrong while silver has had one for ten minutes.
        f"""
        SELECT coalesce(date_diff('minute', max(as_of), now()), (
            SELECT date_diff('minute', min(processed_at), now()) FROM silver.events
            WHERE event_date >= current_date - 1 AND event_type = 'product_view'
                AND event_time > now() - INTERVAL 50 MINUTE), 0) AS minutes
        FROM {LAST_HOUR}
        """,  # noqa: S608 - the names are declared in this project
        between("is_fresh", "minutes", None, 10, "The window ended within ten minutes."),
    ),
)
