"""gold.top_products_hourly and gold.top_products_last_hour: the most viewed products."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, LongType, StringType, StructType, TimestampType

from gold.hourly import hourly_table
from lakehouse.hours import hour_start
from lakehouse.table import KEEP_HOURS, Kept, Live, Table, column
from silver.conditions import IS_VIEW

RANKED_PRODUCT = [
    column("rank", IntegerType(), "1 is the most viewed; equal views in order of product_id"),
    column("product_id", StringType(), "The product"),
    column("product_name", StringType(), "Its latest known name in the period; null when no view carried one"),
    column("views", LongType(), "Product views: product_view, or page_view with a product_id"),
    column("unique_viewers", LongType(), "Distinct users among these views, exact"),
]

_SECOND = "(moment + 999999) // 1000000"
"""The second that an event belongs to, its end included: the edges of the rolling hour are whole seconds."""
_VIEWER = "hash(product_id, user_id)"
"""64 bits: with two million pairs in an hour, two of them collide in one hour of ten million."""
_VIEWS = f"""
    SELECT {{age}} AS age, product_id, count(*) AS views,
        max({{{{'moment': moment, 'event_id': event_id, 'name': product_name}}}})
            FILTER (product_name IS NOT NULL) AS named
    FROM new_events WHERE {IS_VIEW} GROUP BY ALL"""
_MERGED_VIEWS = """
    SELECT age, product_id, sum(views)::BIGINT AS views, max(named) AS named FROM {kept} WHERE {where} GROUP BY ALL"""
HOURLY_LIVE = Live(
    """
    WITH top AS (
        SELECT *, row_number() OVER (PARTITION BY age ORDER BY views DESC, product_id)::INT AS rank
        FROM {top_hours} QUALIFY rank <= {top_n})
    SELECT make_timestamptz(top.age * 3600000000) AS hour_start, rank, product_id, named.name AS product_name, views,
        size AS unique_viewers
    FROM top JOIN {top_viewers} AS viewers ON viewers.age = top.age AND product = hash(product_id)""",
    {
        "top_hours": Kept(_VIEWS.format(age="hour"), _MERGED_VIEWS),
        "top_viewers": Kept(
            f"""SELECT DISTINCT hour AS age, hash(product_id) AS product, hash(hour, product_id, u) AS key
            FROM new_events WHERE {IS_VIEW}""",
            is_set=True,
        ),
    },
)
_VIEWERS = f"SELECT {_SECOND} AS age, {_VIEWER} AS key FROM new_events WHERE {IS_VIEW}"
_PAIRED = """
    SELECT if(lag(key) OVER in_order = key, lag(age) OVER in_order, NULL) AS since, age, key, {repeats} AS repeats
    FROM ({views}) WINDOW in_order AS (ORDER BY key, age)"""
_REPEATS = f"""
    SELECT age, since, product_id, sum(repeats)::INT AS repeats
    FROM (FROM ({_PAIRED.format(views="FROM top_views_met", repeats=-1)})
        UNION ALL FROM ({_PAIRED.format(views=f"FROM top_views_met UNION ALL {_VIEWERS}", repeats=1)}))
        JOIN (SELECT DISTINCT {_VIEWER} AS key, product_id FROM new_events WHERE {IS_VIEW}) USING (key)
    WHERE since IS NOT NULL GROUP BY ALL HAVING sum(repeats) <> 0"""
"""A view repeats the one before it by the same user of the same product, `since`. Distinct viewers of a period are its
views less those that repeat one in it: counting that costs a tenth of `count(DISTINCT)`."""
_MERGED_TILES = """
    SELECT age, product_id, sum(views)::BIGINT AS views, max(named) AS named, sum(repeats)::BIGINT AS repeats
    FROM {kept} WHERE {where} GROUP BY ALL"""
_NEW_TILES = f"""(
        SELECT *, 0 AS repeats FROM ({_VIEWS})
        UNION ALL SELECT {{since}}, product_id, 0, NULL, repeats FROM top_pairs)"""
_TILES = _MERGED_TILES.format(kept=_NEW_TILES, where="true")
LAST_HOUR_LIVE = Live(
    """
    WITH tiles AS NOT MATERIALIZED (
        SELECT * FROM top_minutes WHERE age >= {as_of} - 3540 AND age <= {as_of}
        UNION ALL
        SELECT * FROM top_seconds WHERE age > {as_of} - 3600 AND age <= ({as_of} - 3541) // 60 * 60
        UNION ALL
        SELECT * FROM top_seconds WHERE age > {as_of} // 60 * 60 AND age <= {as_of}),
    top AS MATERIALIZED (
        SELECT product_id, sum(views)::BIGINT AS views, sum(repeats) AS repeats,
            row_number() OVER (ORDER BY sum(views) DESC, product_id)::INT AS rank
        FROM tiles GROUP BY product_id QUALIFY rank <= {top_n}),
    names AS (
        SELECT product_id, max(named).name AS product_name
        FROM tiles WHERE product_id IN (SELECT product_id FROM top) GROUP BY product_id),
    ahead AS (
        SELECT product_id, sum(repeats) AS repeats FROM top_repeats
        WHERE age > {as_of} AND since <= {as_of} AND since > {as_of} - 3600 GROUP BY product_id)
    SELECT make_timestamptz({as_of} * 1000000) AS as_of, make_timestamptz(({as_of} - 3600) * 1000000) AS window_start,
        rank, product_id, product_name, views,
        (views - top.repeats + coalesce(ahead.repeats, 0))::BIGINT AS unique_viewers
    FROM top JOIN names USING (product_id) LEFT JOIN ahead USING (product_id)""",
    {
        "top_seconds": Kept(_TILES.format(age=_SECOND, since="since"), per_second=True),
        "top_minutes": Kept(
            _TILES.format(age=f"({_SECOND} + 59) // 60 * 60", since="(since + 59) // 60 * 60"),
            _MERGED_TILES,
            per_second=True,
        ),
        "top_views": Kept(_VIEWERS, per_second=True, is_met=True),
        "top_repeats": Kept("FROM top_pairs", per_second=True),
    },
    steps={"top_pairs": _REPEATS},
)
"""The rolling hour is the minutes that lie in it and the seconds at its edges. A repeat counts where the view lies that
it repeats; one whose own time is still ahead is taken out again."""
READS = ("event_id", "event_type", "event_time", "user_id", "product_id", "product_name")
HOURLY = hourly_table(
    "top_products_hourly",
    grain="a product's rank in a clock hour",
    columns=[
        *RANKED_PRODUCT,
        column("status", StringType(), "provisional until the hour's end plus the lateness setting, then final"),
    ],
    keys=("rank",),
    reads=READS,
    rows=lambda events, settings: hourly(events, settings.top_n),
    live=HOURLY_LIVE,
    statistics=("rank",),
)
LAST_HOUR = Table(
    layer="gold",
    name="top_products_last_hour",
    grain="a product's rank in the rolling last 60 minutes",
    schema=StructType(
        [
            column("as_of", TimestampType(), "End of the window, included, UTC"),
            column("window_start", TimestampType(), "Start of the window, excluded: as_of less 60 minutes, UTC"),
            *RANKED_PRODUCT,
        ]
    ),
    keys=("as_of", "rank"),
    writer="delta-rs",
    fed="live",
    rows="replaced",
    keep_hours=KEEP_HOURS,
    newest="as_of",
    reads=READS,
    live=LAST_HOUR_LIVE,
)


def hourly(events: DataFrame, top_n: int) -> DataFrame:
    """The `top_n` products of every clock hour in `events`: rows of HOURLY."""
    views = events.where(IS_VIEW)
    return ranked(views, hour_start(), top_n).select(
        F.col("period").alias("hour_start"), "rank", "product_id", "product_name", "views", "unique_viewers"
    )


def ranked(views: DataFrame, period: Column, top_n: int) -> DataFrame:
    """The `top_n` products of each `period`: ranks by views first, which is cheap; names and distinct viewers only of
    the products that made it."""
    views = views.select(period.alias("period"), "product_id", "product_name", "user_id", _recency().alias("recency"))
    order = Window.partitionBy("period").orderBy(F.col("views").desc(), "product_id")
    top = (
        views.groupBy("period", "product_id")
        .agg(F.count("*").alias("views"))
        .withColumn("rank", F.row_number().over(order))
        .where(F.col("rank") <= top_n)
    )
    return (
        views.join(F.broadcast(top), on=["period", "product_id"], how="inner")
        .groupBy("period", "rank", "product_id", "views")
        .agg(
            F.max_by("product_name", "recency").alias("product_name"),
            F.count_distinct("user_id").alias("unique_viewers"),
        )
    )


def _recency() -> Column:
    """Orders views that carry a name, the latest last; null for the others, which `max_by` passes over."""
    return F.when(F.col("product_name").isNotNull(), F.struct("event_time", "event_id"))
