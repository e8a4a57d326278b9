"""gold.top_products_hourly and gold.top_products_last_hour: ranks that are ranks."""

from __future__ import annotations

from quality.declaration import Suite, between, none, one_of

HOURLY, LAST_HOUR = "gold.top_products_hourly", "gold.top_products_last_hour"
_RANKS = """
    SELECT count(*) - count(DISTINCT ({period}, "rank")) AS repeated_ranks,
        count(*) - count(DISTINCT ({period}, product_id)) AS repeated_products,
        count(*) FILTER (product_id IS NULL OR {period} IS NULL OR "rank" IS NULL) AS incomplete,
        count(*) FILTER ("rank" <> place) AS out_of_place,
        count(*) FILTER (unique_viewers < 1 OR unique_viewers > views) AS impossible_views
    FROM (SELECT *, row_number() OVER (PARTITION BY {period} ORDER BY views DESC, product_id) AS place FROM {table}
          WHERE {where})
"""
_RANK_EXPECTATIONS = (
    none("each_rank_once", "repeated_ranks", "A period has each rank once."),
    none("each_product_once", "repeated_products", "A period has each product once."),
    none("is_complete", "incomplete", "Period, rank and product are there."),
    none("ranks_follow_views", "out_of_place", "Ranks are 1, 2, 3, … by views, then product."),
    none("viewers_are_possible", "impossible_views", "At least one viewer, and at most one per view."),
)

SUITES = (
    Suite(
        HOURLY,
        _RANKS.format(period="hour_start", table=HOURLY, where="{days}"),
        _RANK_EXPECTATIONS,
        day_column="hour_date",
    ),
    Suite(
        HOURLY,
        f"SELECT DISTINCT status FROM {HOURLY} WHERE {{days}}",  # noqa: S608 - the names are declared in this project
        (one_of("status_is_known", "status", ("provisional", "final"), "Provisional or final."),),
        day_column="hour_date",
        part="status",
    ),
    Suite(
        HOURLY,
        """
        WITH ranked AS (SELECT hour_start, sum(views) AS views FROM gold.top_products_hourly WHERE {days} GROUP BY 1)
        SELECT count(*) AS beyond FROM ranked LEFT JOIN gold.kpis_hourly AS figures USING (hour_start)
        WHERE ranked.views > coalesce(figures.product_views, 0) AND hour_start < now() - INTERVAL 2 HOUR
        """,
        (none("views_are_in_the_figures", "beyond", "No hour ranks more views than it had."),),
        day_column="hour_date",
        part="figures",
    ),
    Suite(
        LAST_HOUR,
        _RANKS.format(period="as_of", table=LAST_HOUR, where="true"),
        _RANK_EXPECTATIONS,
    ),
    Suite(
        LAST_HOUR,
        f"""
        SELECT count(DISTINCT as_of) AS windows,
            count(*) FILTER (as_of - window_start <> INTERVAL 60 MINUTES) AS other_length FROM {LAST_HOUR}
        """,  # noqa: S608 - the names are declared in this project
        (
            between("is_one_window", "windows", 0, 1, "All rows are of one window.", "block"),
            none("is_an_hour", "other_length", "The window is 60 minutes long."),
        ),
        part="window",
    ),
    Suite(
        LAST_HOUR,
        # No row is right after an hour without a view, and wrong while silver has had one for ten minutes.
        f"""
        SELECT coalesce(date_diff('minute', max(as_of), now()), (
            SELECT date_diff('minute', min(processed_at), now()) FROM silver.events
            WHERE event_date >= current_date - 1 AND event_type = 'product_view'
                AND event_time > now() - INTERVAL 50 MINUTE), 0) AS minutes
        FROM {LAST_HOUR}
        """,  # noqa: S608 - the names are declared in this project
        (between("is_fresh", "minutes", None, 10, "The window ended within ten minutes."),),
        part="freshness",
    ),
)
