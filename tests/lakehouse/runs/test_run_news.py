"""What a run tells: progress over all stages, lines without secrets, and what its errors mean."""

import threading
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
import structlog
from kafka.errors import KafkaTimeoutError

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.runs.claims import Line
from lakehouse.runs.failures import explain
from lakehouse.runs.news import News, log_as_json
from lakehouse.session import SparkAway, _address
from tests.support.platform import free_settings


def stage(number: int, tasks: int, done: int, bytes_read: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        stage_id=number, num_tasks=tasks, num_completed_tasks=done, num_bytes_read=bytes_read, done=tasks == done
    )


def tell(news: News, *stages: SimpleNamespace) -> None:
    # Spark calls its handlers by keyword.
    news.spark_progress(stages=stages, inflight_tasks=1, operation_id="o", done=False)


def test_progress_is_told_once_and_adds_up_over_stages_and_steps() -> None:
    news = News(2)
    assert news.take()[0] == {"step": 0, "steps": 2, "doing": "Starting"}
    assert news.take()[0] is None
    assert news.step("Reading")
    tell(news, stage(1, 4, 4, 100), stage(2, 2, 0))
    tell(news, stage(2, 2, 1, 50))
    told = news.take()[0]
    assert told == {
        "step": 1, "steps": 2, "doing": "Reading", "tasks_done": 5, "tasks": 6, "tasks_running": 1, "stages_done": 1,
        "stages": 2, "bytes_read": 150,
    }  # fmt: skip
    tell(news, stage(2, 2, 1, 50))
    assert news.take()[0] is None, "nothing has changed"
    assert not news.step("Reading"), "the same words again are no new step"
    assert news.step("Writing") and news.step("Checking")
    tell(news, stage(3, 1, 1, 7))
    told = news.take()[0] or {}
    assert (told["step"], told["steps"], told["tasks"], told["bytes_read"]) == (3, 3, 1, 157)
    assert news.bytes_read_so_far() == 157


def test_a_handler_never_fails_without_stages() -> None:
    news = News(1)
    news.spark_progress(stages=None, inflight_tasks=0, operation_id=None, done=True)


def test_lines_that_could_not_be_told_are_told_later_in_order() -> None:
    news = News(1)
    news.log(Line("one"))
    _, lines = news.take()
    news.log(Line("two"))
    news.put_back(lines)
    assert [line.message for line in news.take()[1]] == ["one", "two"] and news.take()[1] == []


def test_logs_reach_the_run_and_no_secret_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-aws")
    monkeypatch.setenv("SPARK_CONNECT_AUTHENTICATE_TOKEN", "pa55word")
    before = structlog.get_config()
    log_as_json()
    try:
        url = "https://me:pa55word@spark"  # pragma: allowlist secret
        with structlog.contextvars.bound_contextvars(news=(news := News(1))):
            structlog.get_logger().warning("no access", url=url, key="s3cr3t-of-aws", rows=3)
            threading.Thread(target=structlog.get_logger().info, args=("of another run",)).start()
            try:
                raise ValueError("bad pa55word")
            except ValueError:
                structlog.get_logger().error("failed", exc_info=True)
        first, second = news.take()[1]
        assert (first.level, first.message, first.fields["rows"]) == ("warning", "no access", "3")
        assert first.fields["key"] == "***" and "ValueError: bad ***" in second.fields["exception"]
        told = capsys.readouterr().out + str((first, second))
        assert "pa55word" not in told and "s3cr3t" not in told
        structlog.get_logger().info("of no run")
    finally:
        structlog.configure(**before)


class Gone(grpc.RpcError):
    pass


@pytest.mark.parametrize(
    ("error", "code", "is_worth_retrying"),
    [
        (SparkAway("The Spark server does not answer."), "spark_unavailable", True),
        (Gone("broken"), "spark_unavailable", True),
        (RuntimeError("[INVALID_HANDLE.SESSION_CLOSED] The handle x is invalid."), "spark_unavailable", True),
        (RuntimeError("[RETRIES_EXCEEDED] The maximum number of retries"), "spark_unavailable", True),
        (RuntimeError("[NO_ACTIVE_SESSION] No active Spark session found."), "spark_unavailable", True),
        (RuntimeError("[DELTA_CONCURRENT_APPEND] Files were added"), "conflict", True),
        (RuntimeError("io.delta.exceptions.ConcurrentDeleteReadException: x"), "conflict", True),
        (RuntimeError("java.net.ConnectException: Connection timed out"), "unavailable", True),
        (ConnectionResetError("reset"), "unavailable", True),
        (KafkaTimeoutError(), "unavailable", True),
        (UsageError("There is no such day."), "wrong_use", False),
        (ShoplakeError("Kafka has deleted offsets."), "job_failed", False),
        (ValueError("no"), "error", False),
        (RuntimeError("[DIVIDE_BY_ZERO] Division by zero."), "error", False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, code: str, is_worth_retrying: bool) -> None:
    found = explain(error)
    assert (found.code, found.is_worth_retrying) == (code, is_worth_retrying)
    assert found.error == {"code": code, "message": found.message} and found.message


def test_an_error_is_a_sentence_without_its_stack_and_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("[X] First line.\n  second line\n\nJVM stacktrace:\n\tat a.b.C(D.scala:1)")
    assert explain(error).message == "[X] First line. second line"
    assert explain(ValueError()).message == "ValueError"
    gone = RuntimeError(
        '<RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n\tdetails = "Connection refused">'
    )
    assert explain(gone).message == "The Spark server went away: Connection refused"
    assert len(explain(ValueError("x" * 9_000)).message) == 500
    monkeypatch.setenv("SHOPLAKE_API_KEY", "k-123")
    assert explain(ValueError("key k-123")).message == "key ***"


def test_a_session_is_found_again_by_its_address(tmp_path: Path) -> None:
    settings = free_settings(tmp_path, spark_port=15002)
    assert _address(settings, None) == "sc://127.0.0.1:15002"
    assert _address(settings, "s").endswith(":15002/;user_id=shoplake;session_id=s")
    remote = free_settings(tmp_path, spark_remote="sc://host:1/;use_ssl=true")
    assert _address(remote, "s") == "sc://host:1/;use_ssl=true;user_id=shoplake;session_id=s"
