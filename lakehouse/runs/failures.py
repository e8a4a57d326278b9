"""What an error of a job means: a stable code, one sentence, and whether another attempt is worth it."""

import re
from dataclasses import dataclass

import grpc
from botocore.exceptions import ConnectionError as S3ConnectionError
from botocore.exceptions import HTTPClientError
from kafka.errors import KafkaError

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.secret_words import hide, secret_words
from lakehouse.session import SparkAway


@dataclass(frozen=True)
class Failure:
    """Why a run failed, for its caller."""

    code: str
    message: str
    is_worth_retrying: bool = False

    @property
    def error(self) -> dict[str, str]:
        """As the run keeps it."""
        return {"code": self.code, "message": self.message}


_SPARK_GONE = re.compile(
    r"StatusCode\.UNAVAILABLE|INVALID_HANDLE\.|SESSION_NOT_FOUND|SESSION_CLOSED|SESSION_CHANGED|Socket closed"
    r"|Connection refused|RETRIES_EXCEEDED|not active sessions|SparkContext (was shut down|is stopped)"
    r"|stopped SparkContext|NO_ACTIVE_SESSION"
)
"""The client lets go of a session whose server has changed: whatever the job asks next has no session."""
_DETAILS = re.compile(r'details = "([^"]+)"')
"""The words of a gRPC error among its many others."""
_CONFLICT = re.compile(r"DELTA_CONCURRENT|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|Concurrent\w+Exception")
_CONNECTION = re.compile(
    r"java\.net\.(Connect|SocketTimeout|UnknownHost)\w*Exception|SdkClientException: Unable to execute HTTP request"
    r"|ConnectTimeoutException|NoHttpResponseException|SlowDown|Service Unavailable"
)


def explain(error: BaseException) -> Failure:
    """What to say about an error, without this process's secrets, and whether it may pass by itself."""
    message = hide(sentence(error), secret_words())
    if isinstance(error, SparkAway):
        return Failure("spark_unavailable", message, is_worth_retrying=True)
    if isinstance(error, UsageError):
        return Failure("wrong_use", message)
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, grpc.RpcError) or _SPARK_GONE.search(text):
        details = _DETAILS.search(message)
        reason = details[1] if details else message
        return Failure("spark_unavailable", f"The Spark server went away: {reason}", is_worth_retrying=True)
    if _CONFLICT.search(text):
        return Failure("conflict", message, is_worth_retrying=True)
    is_connection = isinstance(error, ConnectionError | TimeoutError | S3ConnectionError | HTTPClientError)
    if is_connection or isinstance(error, KafkaError) or _CONNECTION.search(text):
        return Failure("unavailable", message, is_worth_retrying=True)
    return Failure("job_failed" if isinstance(error, ShoplakeError) else "error", message)


def sentence(error: BaseException) -> str:
    """The words of an error without stack traces and query plans, at most 500 characters."""
    text = str(error).split("JVM stacktrace")[0].split("\n== SQL")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    return " ".join(lines)[:500].strip() or type(error).__name__
