"""Sessions with the Spark Connect server; the server is the only writer of the lake."""

from __future__ import annotations

import os
import time

from pyspark.sql import SparkSession

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings


def connect(settings: Settings) -> SparkSession:
    """A new session in UTC. Raises ShoplakeError when the server does not answer."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        spark = SparkSession.builder.remote(settings.remote).create()
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    except Exception as error:
        raise ShoplakeError(
            f"The Spark server at {settings.remote} does not answer ({type(error).__name__}); start it with `make up`."
        ) from error
    return spark
