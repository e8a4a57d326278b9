"""What tests of several folders share, without a platform: a Spark session, and an empty lake."""

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import duckdb
import pytest
from pyspark.sql import SparkSession
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support import nightly
from tests.support.declared_tables import create_tables

os.environ["TZ"] = "UTC"
time.tzset()
# Servers of tests live for minutes and see little data. Benchmarks and installations compile in full.
os.environ.setdefault("SHOPLAKE_JAVA_JIT", "quick")

SPARK = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.default.parallelism": "1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.ansi.enabled": "true",
    # Code that was made once is kept, as in the platform: the checks alone are dozens of large classes.
    "spark.sql.codegen.cache.maxEntries": "2000",
    "spark.sql.codegen.useIdInClassName": "false",
    # Else the planner would judge small frames itself, and no compiled code would be tested.
    "spark.sql.execution.arrow.localRelationThreshold": "0",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=400m"
    " -XX:+UseSerialGC",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    numbers = map(str, range(len(nightly.SHARES)))
    which = "which of the nightly tests run: the number of a share, or all (the default), or none"
    parser.addoption("--nightly", choices=("all", "none", *numbers), default="all", help=which)


class WholeFiles(LoadScopeScheduling):
    """A worker gets a whole file, and one of them all files that need Spark."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(self.config.rootpath / nodeid.partition("::")[0])


@cache
def scope_of(file: Path) -> str:
    return "spark" if "mark.spark" in file.read_text(encoding="utf-8") else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> WholeFiles:
    return WholeFiles(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = []
    for item in items:
        if item.get_closest_marker("nightly"):
            shares = nightly.shares_of(item.nodeid)
            if len(shares) == 1 and config.option.nightly not in ("all", *shares):
                left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A nightly test that no share names is left out of none, and fails."""
    if item.get_closest_marker("nightly") and len(shares := nightly.shares_of(item.nodeid)) != 1:
        pytest.fail(f"{item.nodeid} has to be in one share of tests/support/nightly.py, not in {shares}")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = SparkSession.builder.master("local[1]").config(map=SPARK).getOrCreate()
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
