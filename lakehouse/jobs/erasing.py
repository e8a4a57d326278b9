"""Finds a person's records in bronze, silver and the quarantine, writes down which they are, and takes them out.

A record is the person's when its key, or the user_id in its value, is the id. A refused record that states no user_id
is it also when the id stands in it as a word: what cannot be read has no fields. Records that the stream is writing
right now are left to it.
"""

from datetime import UTC, datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze import events as bronze_events
from gold import user_days
from lakehouse import hours as clock
from lakehouse import persons
from lakehouse.jobs.merging import merge, run_name, same_in
from lakehouse.lake import Lake
from lakehouse.ops import erasures
from lakehouse.stream import rebuilt, recovery
from lakehouse.table import with_constants
from silver import deduplicate, quarantine
from silver import events as silver_events
from silver.deduplicate import COORDINATES


def found(lake: Lake, user: str) -> pa.Table:
    """The place of each of the person's records, and what it was counted as; of those that are in the book."""
    booked = recovery.is_before(recovery.booked_offsets(lake))
    silver = lake.read(silver_events.TABLE).where(booked & (F.col("user_id") == user))
    is_refused = _is_theirs(user) | (_is_named(user) & _stated(user).isNull())
    refused = lake.read(quarantine.TABLE).where(booked & is_refused)
    kept = lake.read(bronze_events.TABLE).where(booked & _is_theirs(user))
    no_hour = F.lit(None).cast("bigint").alias("hour")
    layers = (
        silver.select(*COORDINATES, F.lit("silver").alias("was"), clock.hour_number().alias("hour")),
        refused.select(*COORDINATES, F.lit("quarantined").alias("was"), no_hour),
        kept.select(*COORDINATES, F.lit("duplicates").alias("was"), no_hour),
    )
    # The greatest word is what counts: a record of bronze is a duplicate when no other table has it.
    fate = F.max("was").alias("was"), F.max("hour").alias("hour")
    return reduce(DataFrame.union, layers).groupBy(*COORDINATES).agg(*fate).toArrow()


def note(lake: Lake, records: pa.Table) -> None:
    """Write down which records go, before anything does: the ledger never misses one without a reason."""
    new = deduplicate.rows_without(records, of_run(lake))
    if new.num_rows:
        rows = with_constants(new, run_id=run_name(lake), erased_at=datetime.now(UTC))
        lake.small.append(erasures.RECORDS, rows, lake.mark)


def erase(lake: Lake, user: str, records: pa.Table) -> int:
    """Take the records out of the tables, and the person out of gold.user_days; how many days those were."""
    if records.num_rows:
        places = lake.spark.createDataFrame(records.select(COORDINATES))
        is_place = same_in(*COORDINATES)
        with rebuilt.under_way(lake.settings):
            merge(lake, quarantine.TABLE, places, is_place, "DELETE")
            merge(lake, silver_events.TABLE, places, is_place, "DELETE")
            # Now, so that what the stream remembers of old is in no batch that ends after this run.
            rebuilt.tell(lake.settings, {clock.number_of(datetime.now(UTC))})
            merge(lake, bronze_events.TABLE, places, is_place, "DELETE")
    days = lake.read(user_days.TABLE).where(F.col("user_id") == user).count()
    if days:
        person = lake.spark.createDataFrame([(user,)], "user_id string")
        merge(lake, user_days.TABLE, person, same_in("user_id"), "DELETE")
    return days


def left(lake: Lake, user: str) -> tuple[int, int]:
    """Records of bronze that have the id after all: the person's own, which came meanwhile, and those of others."""
    own, of_others = F.count_if(_is_theirs(user)), F.count_if(_is_named(user) & ~_is_theirs(user))
    counts = lake.read(bronze_events.TABLE).agg(own, of_others).collect()[0]
    return counts[0], counts[1]


def _is_theirs(user: str) -> Column:
    return F.coalesce(F.col("key").cast("string") == user, F.lit(False)) | F.coalesce(
        _stated(user) == user, F.lit(False)
    )


def _is_named(user: str) -> Column:
    text = F.col("value").cast("string")
    has_it = clock.any_of([text.contains(each) for each in persons.spellings(user)])
    return F.coalesce(has_it & text.rlike(persons.as_word(user)), F.lit(False))


def _stated(user: str) -> Column:
    """The user_id in a value. Only a text that has the id, or something escaped, is worth reading as JSON."""
    text = F.col("value").cast("string")
    return F.when(text.contains(user) | text.contains("\\"), F.get_json_object(text, "$.user_id"))


def of_run(lake: Lake) -> pa.Table:
    """The rows that this run has written to ops.erased_records, in all its attempts."""
    rows = lake.small.read(erasures.RECORDS)
    return rows.filter(pc.equal(rows.column("run_id"), run_name(lake)))
