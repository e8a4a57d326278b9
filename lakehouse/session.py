"""Sessions with the Spark Connect server; the server is the only writer of the lake."""

from __future__ import annotations

import os
import time

from pyspark.sql import SparkSession
from pyspark.sql.connect.client.retries import DefaultPolicy

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings


def connect(settings: Settings) -> SparkSession:
    """A new session in UTC. Raises ShoplakeError when the server does not answer.

    A client gives up on a dead server after some fifteen seconds, not after ten minutes: sessions do not survive
    the server, so that there is nothing to wait for.
    """
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        spark = SparkSession.builder.remote(settings.remote).create()
        spark.client.set_retry_policies([DefaultPolicy(max_retries=9, max_backoff=2000)])
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    except Exception as error:  # gRPC, Spark and socket errors have no base class in common
        raise ShoplakeError(
            f"The Spark server at {settings.remote} does not answer ({type(error).__name__}); start it with `make up`."
        ) from error
    return spark
