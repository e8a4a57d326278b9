"""gold.cohort_retention and gold.user_days: cohorts that keep their size, and rates that are rates."""

from quality.declaration import no_row, none, suite

TABLE, DAYS = "gold.cohort_retention", "gold.user_days"
_COHORT = "granularity, cohort_start, activity, timezone"
_UNIT = f"concat_ws(' ', {_COHORT})"

SUITES = (
    suite(
        TABLE,
        f"""
        SELECT *, min(cohort_size) OVER cohort <> max(cohort_size) OVER cohort AS is_changing, count(*) OVER (
            PARTITION BY {_COHORT}, period_index, definition) AS seen
        FROM {TABLE} WINDOW cohort AS (PARTITION BY {_COHORT})
        """,  # noqa: S608 - the names are declared in this project
        no_row("each_cell_once", "seen > 1", "A cell of the matrix has one row."),
        no_row("rates_are_rates", "NOT retention_rate BETWEEN 0 AND 1", "The retention rate is within 0 and 1."),
        no_row(
            "rates_are_shares",
            "abs(retention_rate - retained_users / cohort_size) > 1e-9",
            "The rate is retained_users over cohort_size.",
        ),
        no_row(
            "counts_are_possible",
            "cohort_size < 1 OR cohort_size IS NULL OR retained_users > cohort_size OR retained_users < 0",
            "Nobody is retained who is not in the cohort.",
        ),
        no_row(
            "cell_0_is_the_cohort",
            "period_index = 0 AND retained_users IS DISTINCT FROM cohort_size",
            "In its own period all of a cohort are active.",
        ),
        no_row("no_period_is_before", "period_index < 0", "No period lies before the cohort's."),
        no_row(
            "future_is_unknown",
            "is_complete AND retained_users IS NULL OR (retained_users IS NULL) <> (retention_rate IS NULL)",
            "A cell without figures is a future one, never 0.",
        ),
        no_row("sizes_are_constant", "is_changing", "A cohort has the same size in every period."),
        unit=_UNIT,
    ),
    suite(
        TABLE,
        f"""
        SELECT * FROM {TABLE} AS later JOIN {TABLE} AS exact
            USING (granularity, cohort_start, period_index, activity, timezone)
        WHERE later.definition = 'unbounded' AND exact.definition = 'n_day'
            AND later.retained_users < exact.retained_users
        """,  # noqa: S608 - the names are declared in this project
        no_row("unbounded_is_more", "true", "Those active then or later are no fewer than those active then."),
        unit=_UNIT,
    ),
    suite(
        DAYS,
        f"""
        SELECT count(*) - count(DISTINCT (timezone, activity_date, user_id)) AS repeated,
            count(*) FILTER (user_id IS NULL OR activity_date IS NULL OR timezone IS NULL OR purchased IS NULL)
                AS incomplete
        FROM {DAYS}
        """,  # noqa: S608 - the names are declared in this project
        none("each_user_once_a_day", "repeated", "A user has one row a day."),
        none("is_complete", "incomplete", "Zone, day, user and whether he bought are there."),
    ),
)
