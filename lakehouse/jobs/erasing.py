"""Finds a person's records in bronze, silver and the quarantine, writes down which they are, and takes them out.

A record is the person's when its key, or the user_id in its value, is the id. A refused record that states no user_id
is it also when the id stands in it as a word: what cannot be read has no fields. Records that the stream is writing
right now are left to it.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import reduce
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bronze import events as bronze_events
from gold import user_days
from lakehouse import hours as clock
from lakehouse import persons
from lakehouse.jobs.resolution import ATTEMPTS, OUT_OF_STEP, run_name
from lakehouse.lake import Lake, settled
from lakehouse.ops import erasures
from lakehouse.stream import rebuilt, recovery
from lakehouse.table import Table, with_constants
from silver import deduplicate, quarantine
from silver import events as silver_events
from silver.deduplicate import COORDINATES


class Left(NamedTuple):
    """Records of bronze that have the id after all: the person's own, which came meanwhile, and those of others."""

    own: int
    of_others: int


class Erasing:
    """The records of one person, and their erasure by one run."""

    def __init__(self, lake: Lake, user: str) -> None:
        """Nothing is read yet."""
        self._lake, self._user = lake, user

    def found(self) -> pa.Table:
        """The place of each of the person's records, and what it was counted as; of those that are in the book."""
        booked = recovery.is_before(recovery.booked_offsets(self._lake))
        silver = self._lake.read(silver_events.TABLE).where(booked & (F.col("user_id") == self._user))
        refused = self._lake.read(quarantine.TABLE).where(
            booked & (self._is_theirs() | (self._is_named() & self._stated().isNull()))
        )
        kept = self._lake.read(bronze_events.TABLE).where(booked & self._is_theirs())
        layers = (
            silver.select(*COORDINATES, F.lit("silver").alias("was"), clock.hour_number().alias("hour")),
            refused.select(*COORDINATES, F.lit("quarantined").alias("was"), _no_hour()),
            kept.select(*COORDINATES, F.lit("duplicates").alias("was"), _no_hour()),
        )
        # The greatest word is what counts: a record of bronze is a duplicate when no other table has it.
        fate = F.max("was").alias("was"), F.max("hour").alias("hour")
        return reduce(DataFrame.union, layers).groupBy(*COORDINATES).agg(*fate).toArrow()

    def note(self, found: pa.Table) -> None:
        """Write down which records go, before anything does: the ledger never misses one without a reason."""
        new = deduplicate.rows_without(found, of_run(self._lake))
        if new.num_rows:
            rows = with_constants(new, run_id=run_name(self._lake), erased_at=datetime.now(UTC))
            self._lake.small.append(erasures.RECORDS, rows, self._lake.mark)

    def erase(self, found: pa.Table) -> int:
        """Take the records out of the tables, and the person out of gold.user_days; how many days those were."""
        if found.num_rows:
            places = self._lake.spark.createDataFrame(found.select(COORDINATES))
            is_place = " AND ".join(f"kept.`{name}` = found.`{name}`" for name in COORDINATES)
            with rebuilt.under_way(self._lake.settings):
                self._delete(quarantine.TABLE, places, is_place)
                self._delete(silver_events.TABLE, places, is_place)
                # Now, so that what the stream remembers of old is in no batch that ends after this run.
                rebuilt.tell(self._lake.settings, {clock.number_of(datetime.now(UTC))})
                self._delete(bronze_events.TABLE, places, is_place)
        days = self._lake.read(user_days.TABLE).where(F.col("user_id") == self._user).count()
        if days:
            person = self._lake.spark.createDataFrame([(self._user,)], "user_id string")
            self._delete(user_days.TABLE, person, "kept.user_id = found.user_id")
        return days

    def left(self) -> Left:
        """Look through bronze once more."""
        is_theirs, is_named = self._is_theirs(), self._is_named()
        counts = F.count_if(is_theirs), F.count_if(is_named & ~is_theirs)
        return Left(*self._lake.read(bronze_events.TABLE).agg(*counts).collect()[0])

    def _is_theirs(self) -> Column:
        return F.coalesce(F.col("key").cast("string") == self._user, F.lit(False)) | F.coalesce(
            self._stated() == self._user, F.lit(False)
        )

    def _is_named(self) -> Column:
        text = F.col("value").cast("string")
        has_it = clock.any_of([text.contains(each) for each in persons.spellings(self._user)])
        is_named = has_it & text.rlike(persons.as_word(self._user))
        return F.coalesce(is_named, F.lit(False))

    def _stated(self) -> Column:
        """The user_id in a value. Only a text that has the id, or something escaped, is worth reading as JSON."""
        text = F.col("value").cast("string")
        return F.when(text.contains(self._user) | text.contains("\\"), F.get_json_object(text, "$.user_id"))

    def _delete(self, table: Table, rows: DataFrame, on: str) -> None:
        """Delete the rows that `rows` names. The table's history says `on`, which must tell nothing of a person."""
        view = f"erased_{random.getrandbits(64):x}"
        rows.createOrReplaceTempView(view)
        path = self._lake.path(table)
        merge = f"MERGE INTO delta.`{path}` AS kept USING {view} AS found ON {on} WHEN MATCHED THEN DELETE"
        settled(lambda: self._lake.spark.sql(merge).collect(), attempts=ATTEMPTS, wait=OUT_OF_STEP)
        self._lake.spark.catalog.dropTempView(view)


def of_run(lake: Lake) -> pa.Table:
    """The rows that this run has written to ops.erased_records, in all its attempts."""
    rows = lake.small.read(erasures.RECORDS)
    return rows.filter(pc.equal(rows.column("run_id"), run_name(lake)))


def _no_hour() -> Column:
    return F.lit(None).cast("bigint").alias("hour")
