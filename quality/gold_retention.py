"""gold.cohort_retention and gold.user_days: cohorts that keep their size, and rates that are rates."""

from __future__ import annotations

from quality.declaration import Suite, none

TABLE, DAYS = "gold.cohort_retention", "gold.user_days"
_COHORT = "granularity, cohort_start, activity, timezone"

SUITES = (
    Suite(
        TABLE,
        f"""
        WITH cohorts AS (
            SELECT {_COHORT}, count(DISTINCT cohort_size) AS sizes FROM {TABLE} GROUP BY ALL)
        SELECT count(*) - count(DISTINCT (granularity, cohort_start, period_index, definition, activity, timezone))
                AS repeated,
            count(*) FILTER (NOT retention_rate BETWEEN 0 AND 1) AS impossible_rates,
            count(*) FILTER (abs(retention_rate - retained_users / cohort_size) > 1e-9) AS other_rates,
            count(*) FILTER (cohort_size < 1 OR cohort_size IS NULL OR retained_users > cohort_size
                OR retained_users < 0) AS impossible_counts,
            count(*) FILTER (period_index = 0 AND retained_users IS DISTINCT FROM cohort_size) AS shrunk,
            count(*) FILTER (period_index < 0) AS before_the_cohort,
            count(*) FILTER (is_complete AND retained_users IS NULL
                OR (retained_users IS NULL) <> (retention_rate IS NULL)) AS untold,
            (SELECT count(*) FROM cohorts WHERE sizes > 1) AS of_changing_size
        FROM {TABLE}
        """,  # noqa: S608 - the names are declared in this project
        (
            none("each_cell_once", "repeated", "A cell of the matrix has one row."),
            none("rates_are_rates", "impossible_rates", "The retention rate is within 0 and 1."),
            none("rates_are_shares", "other_rates", "The rate is retained_users over cohort_size."),
            none("counts_are_possible", "impossible_counts", "Nobody is retained who is not in the cohort."),
            none("cell_0_is_the_cohort", "shrunk", "In its own period all of a cohort are active."),
            none("no_period_is_before", "before_the_cohort", "No period lies before the cohort's."),
            none("future_is_unknown", "untold", "A cell without figures is a future one, never 0."),
            none("sizes_are_constant", "of_changing_size", "A cohort has the same size in every period."),
        ),
    ),
    Suite(
        TABLE,
        f"""
        SELECT count(*) AS fewer FROM {TABLE} AS later JOIN {TABLE} AS exact
            USING (granularity, cohort_start, period_index, activity, timezone)
        WHERE later.definition = 'unbounded' AND exact.definition = 'n_day'
            AND later.retained_users < exact.retained_users
        """,  # noqa: S608 - the names are declared in this project
        (none("unbounded_is_more", "fewer", "Those active then or later are no fewer than those active then."),),
        part="definitions",
    ),
    Suite(
        DAYS,
        f"""
        SELECT count(*) - count(DISTINCT (timezone, activity_date, user_id)) AS repeated,
            count(*) FILTER (user_id IS NULL OR activity_date IS NULL OR timezone IS NULL OR purchased IS NULL)
                AS incomplete
        FROM {DAYS}
        """,  # noqa: S608 - the names are declared in this project
        (
            none("each_user_once_a_day", "repeated", "A user has one row a day."),
            none("is_complete", "incomplete", "Zone, day, user and whether he bought are there."),
        ),
    ),
)
