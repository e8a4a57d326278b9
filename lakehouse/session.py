"""Sessions with the Spark Connect server; the server is the only writer of the lake."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, cast

from pyspark.sql import SparkSession

from lakehouse.errors import ShoplakeError
from lakehouse.lake_secret import spark_token
from lakehouse.probes import spark_answers
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql.connect.client.core import DefaultChannelBuilder


class SparkAway(ShoplakeError):
    """The Spark server does not answer."""


# gRPC by itself would go on saying that a server is away for many seconds after it has come back.
_CHANNEL: list[tuple[str, Any]] = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_COMMIT_MARK, _RUN = "spark.databricks.delta.commitInfo.userMetadata", "run:"
USER = "shoplake"
"""Whose sessions they are: a session is found again by its user and its id."""


def connect(settings: Settings, session_id: str | None = None, *, patience: int = 9) -> SparkSession:
    """A new session in UTC; with `session_id` (a UUID version 4) the one of that id, new or not.

    Raises ShoplakeError when the server does not answer. A client tries `patience` times before it gives up on a
    dead server: by default some fifteen seconds, not ten minutes. Sessions do not survive the server, so that there
    is nothing to wait for.
    """
    # Seconds of processor time to import, and most processes of the lake never ask Spark.
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        # What SparkSession.builder.remote() does, with options for the channel.
        os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
        channel = _builder(settings)(_address(settings, session_id), _CHANNEL)
        spark = cast(SparkSession, ConnectSession.builder.channelBuilder(channel).create())
        spark.client.set_retry_policies([DefaultPolicy(max_retries=patience, max_backoff=2000)])
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        # A thread's active session stays the first one, also when its server has died; `F.lit` of a moment and
        # `localCheckpoint` ask the active one, whatever session they are used with.
        ConnectSession._active_session.session = spark
    except Exception as error:  # gRPC, Spark and socket errors have no base class in common
        raise SparkAway(
            f"The Spark server at {settings.remote} does not answer ({type(error).__name__}); start it with `make up`."
        ) from error
    return spark


def commit_mark(run_id: str) -> str:
    """What Delta's history says of the commits of a run."""
    return f"{_RUN}{run_id}"


def mark_commits(spark: SparkSession, run_id: str) -> None:
    """Let every commit of this session to a Delta table carry the run's id."""
    spark.conf.set(_COMMIT_MARK, commit_mark(run_id))


def marked_run(spark: SparkSession) -> str | None:
    """The id of the run whose session this is; None for a session that belongs to none."""
    mark = spark.conf.get(_COMMIT_MARK, "") or ""
    return mark.removeprefix(_RUN) if mark.startswith(_RUN) else None


def end_session(settings: Settings, session_id: str) -> list[str]:
    """Interrupt everything in a session and close it, so that nobody can use it again, whoever still holds it.

    Returns the interrupted operations. A server that does not answer has taken its sessions with it.
    """
    if not spark_answers(settings):
        return []
    try:
        spark = connect(settings, session_id, patience=2)
    except SparkAway:  # closed already, or gone meanwhile
        return []
    try:
        return list(spark.interruptAll())
    finally:
        spark.stop()


def _builder(settings: Settings) -> type[DefaultChannelBuilder]:
    """How the channel is made. The embedded server's token goes to 127.0.0.1 without TLS, which pyspark does for the
    name localhost alone: that is looked for at ::1 first, where a stranger may listen."""
    import grpc
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    class LocalChannelBuilder(DefaultChannelBuilder):
        def toChannel(self) -> grpc.Channel:
            token = grpc.access_token_call_credentials(spark_token(settings))
            local = grpc.composite_channel_credentials(grpc.local_channel_credentials(), token)
            return self._secure_channel(self.endpoint, local)

    return LocalChannelBuilder if settings.spark_is_embedded else DefaultChannelBuilder


def _address(settings: Settings, session_id: str | None) -> str:
    if session_id is None:
        return settings.remote
    start = settings.remote if "/;" in settings.remote else f"{settings.remote.rstrip('/')}/"
    return f"{start};user_id={USER};session_id={session_id}"
