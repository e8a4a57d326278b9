"""Another user of the same machine reaches Spark's port, and is answered nothing."""

import subprocess
import sys

import pytest

from lakehouse.lake_secret import local_remote
from lakehouse.services.service import child_environment
from tests.support.shop import KEPT_BACK, Shop

pytestmark = pytest.mark.e2e

MINE = f"""
import sys
from pyspark.sql import SparkSession
from lakehouse.session import connect
from lakehouse.settings import load_settings
spark = connect(load_settings())
seen = spark.sql("SELECT coalesce(reflect('java.lang.System', 'getenv', '{KEPT_BACK}'), 'null') AS it")
print(spark.range(3).count(), spark.conf.get("spark.authenticate"), seen.first()["it"])
stream = spark.readStream.format("rate").load().writeStream.foreachBatch(lambda rows, number: rows.count())
stream.trigger(once=True).start().awaitTermination(60)
# The client of pyspark itself, with the address that `shoplake status --format json` tells.
print(SparkSession.builder.remote(sys.argv[1]).create().range(2).count())
"""
OTHERS = """
import sys
from pyspark.sql import SparkSession
SparkSession.builder.remote(sys.argv[1]).create().range(3).count()
"""


def program(text: str, remote: str, shop: Shop) -> subprocess.CompletedProcess[str]:
    """A client of Spark, in a process of its own."""
    command, environment = [sys.executable, "-c", text, remote], child_environment(shop.settings)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_spark_answers_only_who_knows_the_token(shop: Shop) -> None:
    mine = program(MINE, local_remote(shop.settings), shop)
    assert mine.stdout.split() == ["3", "true", "null", "2"], mine.stderr
    here = f"sc://localhost:{shop.settings.spark_port}"
    for remote, answer in ((here, "No authentication token"), (f"{here}/;token=guess", "Invalid authentication")):
        done = program(OTHERS, remote, shop)
        assert done.returncode == 1 and answer in done.stderr
