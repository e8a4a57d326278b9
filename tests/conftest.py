"""What tests of several folders share, without a platform: a Spark session, and an empty lake."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import duckdb
import pytest
from pyspark.sql import SparkSession

from tests.support.declared_tables import create_tables

os.environ["TZ"] = "UTC"
time.tzset()
# Servers of tests live for minutes and see little data. Benchmarks and installations compile in full.
os.environ.setdefault("SHOPLAKE_JAVA_JIT", "quick")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = (
        SparkSession.builder.master("local[1]")
        .appName("tests")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.default.parallelism", "1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC -XX:TieredStopAtLevel=1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def empty_lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """Every declared table in DuckDB, without rows: what runs over the lake can be tested in milliseconds."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        create_tables(connection)
        yield connection
