"""When the demo sends its history: once this lake's Kafka is up, and not at all when the start fails."""

import threading
from pathlib import Path

import pytest

from lakehouse.cli.demo import tour as demo
from lakehouse.cli.demo.steps import Step
from lakehouse.services.state import ServiceState, Snapshot
from producer.sender import Counts
from tests.support.platform import free_settings

PLAN = demo.Plan()


class Publisher:
    """Stands for the sending; whether it was told to end when it began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = threading.Event()
        self.was_ended: list[bool] = []
        monkeypatch.setattr(demo, "_publish_history", self)

    def __call__(self, _settings: object, _plan: object, ending: threading.Event) -> Counts:
        self.was_ended.append(ending.is_set())
        self.began.set()
        return Counts(sent=5, acked=5, failed=0, seconds=0.1)


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    return Publisher(monkeypatch)


def seen(kafka: str, spark: str) -> Snapshot:
    parts = {"kafka": kafka, "spark": spark}
    return Snapshot(1, {name: ServiceState(state, "", None, "") for name, state in parts.items()})


@pytest.mark.parametrize(
    ("kafka", "spark", "begins"),
    [
        ("starting", "up", False),
        ("up", "starting", True),
        ("external", "starting", False),
        ("external", "up", True),
        ("external", "external", True),
        ("failed", "up", False),
    ],
)
def test_history_begins_once_this_lakes_kafka_is_up_and_an_external_one_waits_for_spark(
    kafka: str, spark: str, begins: bool
) -> None:
    may_begin, step = threading.Event(), Step("Starting", 60)
    demo._telling(may_begin, step)(seen(kafka, spark))
    assert may_begin.is_set() is begins
    assert ("spark" in step.what) is (spark == "starting")


def test_history_is_sent_while_the_platform_still_starts(publisher: Publisher, tmp_path: Path) -> None:
    step = Step("Starting", 60)
    with demo._history_beside(free_settings(tmp_path), PLAN, step) as may_begin:
        assert not publisher.began.wait(0.1)
        may_begin.set()
        assert publisher.began.wait(10)
    assert publisher.was_ended == [False]
    assert step.done == "everything is up, 5 events of 60 days published"


def test_nothing_is_sent_when_the_start_fails(publisher: Publisher, tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="a busy port"),
        demo._history_beside(free_settings(tmp_path), PLAN, Step("Starting", 60)),
    ):
        raise RuntimeError("a busy port")
    assert publisher.was_ended == [True]
