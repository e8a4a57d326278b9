"""What sinks send, and how they say that it did not arrive."""

import json
import os
import re
import shlex
from pathlib import Path

import boto3
import pytest
from botocore.stub import ANY, Stubber
from structlog.testing import capture_logs

from lakehouse.monitoring.book import message
from lakehouse.monitoring.rules import RULES
from lakehouse.monitoring.sinks import NotSent, sinks, to_log, to_sns, to_webhook
from lakehouse.runs.models import now
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.settings import Settings
from tests.support import command_line
from tests.support.alert_calls import seen
from tests.support.platform import free_settings
from tests.support.receiver import Receiver

PAGE = (PROJECT_ROOT / "docs" / "reference" / "alerts.md").read_text(encoding="utf-8")
TOPIC = "arn:aws:sns:eu-central-1:123456789012:alerts"
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) for line in block.splitlines()
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return free_settings(tmp_path)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def a_message(settings: Settings) -> dict[str, object]:
    return message(RULES[0], "firing", settings, now(), "it hurts", 61.5)


def test_a_webhook_gets_the_whole_message(settings: Settings, receiver: Receiver) -> None:
    sent = a_message(settings)
    to_webhook(receiver.url, sent)
    assert receiver.accepted == [sent] and receiver.keys == [sent["id"]]


@pytest.mark.parametrize(("state", "level"), [("firing", "warning"), ("resolved", "info")])
def test_the_log_gets_a_line_of_fields(settings: Settings, state: str, level: str) -> None:
    given = a_message(settings) | {"state": state}
    with capture_logs() as lines:
        to_log(given)
    fields = {name: value for name, value in given.items() if name != "text"}
    assert lines == [{"event": "alert", "log_level": level, **fields}]


@pytest.mark.parametrize("answer", [500, 404, 302, 429])
def test_any_other_answer_is_no_success_and_the_address_stays_secret(
    settings: Settings, receiver: Receiver, answer: int
) -> None:
    receiver.answer = answer
    with pytest.raises(NotSent, match=f"answered {answer}") as error:
        to_webhook(receiver.url, a_message(settings))
    assert "s3cret" not in str(error.value)


def test_nobody_there_is_said_without_the_address(settings: Settings) -> None:
    with pytest.raises(NotSent, match="cannot be reached") as error:
        to_webhook("http://127.0.0.1:9/s3cret", a_message(settings))
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("topic", [TOPIC, f"{TOPIC}.fifo"])
def test_sns_gets_the_message_with_what_subscriptions_filter_by(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("sns", region_name="eu-central-1", aws_access_key_id="k", aws_secret_access_key="s")  # noqa: S106
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)
    sent = a_message(settings)
    fifo = {"MessageGroupId": RULES[0].name, "MessageDeduplicationId": sent["id"]} if "fifo" in topic else {}
    expected = {
        "TopicArn": topic,
        "Subject": f"{settings.bucket}: {RULES[0].name} firing",
        "Message": ANY,
        "MessageAttributes": {
            "severity": {"DataType": "String", "StringValue": RULES[0].severity},
            "state": {"DataType": "String", "StringValue": "firing"},
        },
        **fifo,
    }
    bodies: list[str] = []
    client.meta.events.register(
        "provide-client-params.sns.Publish", lambda params, **_: bodies.append(params["Message"])
    )
    with Stubber(client) as aws:
        aws.add_response("publish", {"MessageId": "m1"}, expected)
        to_sns(topic, sent)
        aws.assert_no_pending_responses()
        aws.add_client_error("publish", "AuthorizationError", "not allowed")
        with pytest.raises(NotSent, match="not allowed"):
            to_sns(topic, sent)
    assert json.loads(bodies[0]) == sent


def test_sinks_follow_the_settings(settings: Settings) -> None:
    assert [sink.name for sink in sinks(settings)] == ["log"]
    every = settings.model_copy(update={"alert_webhook_url": "https://example.org/", "alert_sns_topic": TOPIC})
    assert [sink.name for sink in sinks(every)] == ["log", "webhook", "sns"]


def test_rules_have_names_of_their_own_and_limits_that_exist(settings: Settings) -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.limit_in(settings) >= 0 and rule.what_to_do.endswith(".") and rule.means.endswith(".")


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("line", COMMANDS)
def test_documented_command_works(settings: Settings, receiver: Receiver, line: str) -> None:
    words = shlex.split(line)
    named = [word for word in words if word.startswith("SHOPLAKE_")]
    given = {"SHOPLAKE_DATA_DIR": str(settings.data_dir), "NO_PROXY": "127.0.0.1"}
    given |= {word.split("=")[0]: receiver.url for word in named}
    done = command_line.shoplake(*words[len(named) + 1 :], environment=os.environ | given, folder=PROJECT_ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert receiver.states == ([(RULES[0].name, "test")] if named else [])


def test_a_test_message_that_does_not_arrive_is_an_error(settings: Settings, receiver: Receiver) -> None:
    receiver.answer = 503
    given = {"SHOPLAKE_DATA_DIR": str(settings.data_dir), "SHOPLAKE_ALERT_WEBHOOK_URL": receiver.url}
    done = command_line.shoplake("alerts", "test", environment=os.environ | given, folder=PROJECT_ROOT)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "s3cret" not in done.stdout + done.stderr
    assert "webhook: The webhook at 127.0.0.1 answered 503." in done.stdout and "through to webhook" in done.stderr


def test_every_rule_has_its_figure_and_every_figure_its_rule(settings: Settings) -> None:
    from lakehouse.monitoring.figures import Figures
    from lakehouse.runs.registry import RunRegistry

    found = Figures(settings, RunRegistry.open(settings).database).gather()
    assert set(found) == {rule.figure for rule in RULES} == set(seen())
    known = {name: figure.value for name, figure in found.items() if figure.value is not None}
    assert known == {"failed_jobs": 0}, "nothing runs here, and what cannot be told is unknown"
