"""What is said when the stream's query failed: one sentence, not a stack trace."""

from typing import Any

import pytest

from lakehouse.stream.query import _reason

PYTHON_FAILURE = """[FOREACH_BATCH_USER_FUNCTION_ERROR] An error occurred in the user provided function.
Traceback (most recent call last):
  File "micro_batch.py", line 70, in __call__
    self._process(judged)
  File "lake.py", line 12, in append
    raise ShoplakeError("The bucket is full.")
lakehouse.errors.ShoplakeError: The bucket is full.
SQLSTATE: 39000

JVM stacktrace:
org.apache.spark.sql.streaming.StreamingQueryException
\tat org.apache.spark.sql.execution.streaming.StreamExecution.run(StreamExecution.scala:1)
"""
SPARK_FAILURE = """[STREAM_FAILED] Query terminated with exception: Some offsets are gone.
\tat kafka.Source(Source:1)
SQLSTATE: XXKST
"""
CHAINED_FAILURE = """[STREAM_FAILED] Query terminated with exception: Job aborted.
org.apache.spark.SparkException: Job aborted due to stage failure.
\tat org.apache.spark.scheduler.DAGScheduler.abort(DAGScheduler.scala:1)
java.io.IOException: No space left on device
\tat java.io.FileOutputStream.write(FileOutputStream.java:1)
=== Streaming Query ===
Identifier: shoplake [id = 1, runId = 2]
"""


class FailedQuery:
    def __init__(self, error: object) -> None:
        self._error = error

    def exception(self) -> object:
        return self._error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PYTHON_FAILURE, "The bucket is full."),
        (SPARK_FAILURE, "[STREAM_FAILED] Query terminated with exception: Some offsets are gone."),
        (CHAINED_FAILURE, "No space left on device"),
        ("One line.", "One line."),
        (None, "no reason given"),
        ("", "no reason given"),
        ("\n  \n\tonly indented\n", "only indented"),
        ("x" * 5000, "x" * 600),
    ],
)
def test_the_sentence_that_matters_is_picked(error: Any, said: str) -> None:
    assert _reason(FailedQuery(error)) == said
