"""What the demo says before it starts and while a step goes on: nothing that is not so."""

import io
import re

import pytest
from rich.console import Console

from lakehouse.cli.demo import steps as demo_steps
from lakehouse.cli.demo.steps import FULLEST, Step, Steps, what_it_takes
from lakehouse.services.doctor import memory_needed_mb
from tests.support.platform import free_settings


class Clock:
    """Time as the test has it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(demo_steps, "time", clock)
    return clock


def test_minutes_memory_and_disk_are_said_before_anything_starts(tmp_path) -> None:
    settings = free_settings(tmp_path)
    settings.data_dir.mkdir()
    said = what_it_takes(settings, 170)
    assert "about 3 minutes" in said
    assert f"{memory_needed_mb(settings) / 1024:.1f} GB of memory" in said
    assert re.search(r"1 GB of disk \(\d+ GB are free\)", said) and "Ctrl-C ends it at any time" in said


def test_a_bar_never_runs_backwards_and_is_never_full_while_its_step_goes_on(clock: Clock) -> None:
    step, seen = Step("reading", 30), []
    for second, measured in enumerate([0, 0, 0.5, 0.2, 1.0, 0.9] + [1.0] * 200):
        clock.now = float(second)
        step.at(measured)
        seen.append(step.share())
    assert seen == sorted(seen)
    assert 0 < seen[1] < 0.1 and seen[2] >= 0.5 and seen[-1] == FULLEST < 1


def test_the_time_left_follows_what_is_measured_and_is_not_made_up(clock: Clock) -> None:
    step = Step("reading", 30)
    clock.now = 12.0
    assert step.left() == "about 18 s left"
    step.at(0.25)
    assert step.left() == "about 36 s left"
    step.at(0.0)
    clock.now = 40.0
    assert step.left() == "longer than usual"


def test_a_slow_machine_is_expected_to_stay_slow(clock: Clock) -> None:
    said = io.StringIO()
    steps = Steps(Console(file=said, width=100), {"one": 10, "two": 20})
    with steps.step("one") as step:
        step.done = "5 records read"
        clock.now = 30.0
    assert said.getvalue() == "✓ 5 records read in 30 s\n"
    with steps.step("two") as step:
        clock.now = 40.0
        assert step.left() == "about 50 s left"
        line = io.StringIO()
        Console(file=line, width=80).print(step.line(2, 2))
        assert line.getvalue().startswith("2/2 two ") and "10 s, about 50 s left" in line.getvalue()
