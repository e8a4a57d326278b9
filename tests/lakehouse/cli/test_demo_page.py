"""The live page on terminals of two sizes: all of it can be seen, nothing of it is cut, and it can be left."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from lakehouse.cli.demo import page as demo_page
from lakehouse.cli.demo import view
from lakehouse.errors import ShoplakeError
from producer.contract import REASONS
from tests.support.demo_rows import NOW, REASON, Canned, extras
from tests.support.platform import free_settings

SIZES = [(80, 24), (120, 40)]
LAST = re.compile(r"Ctrl-C ends and prints all · n, p turn · f new thief · page (\d+)/(\d+)")
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def pages(width: int, height: int, figures: demo_page.Figures) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, force_terminal=True)
    found = []
    for page in demo_page._pages(console, demo_page._drawn(console, view.PANELS, figures, extras)):
        lines = console.render_lines(page, pad=False)
        found.append(["".join(segment.text for segment in line).rstrip() for line in lines])
    return found


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_page_fits_and_nothing_on_it_is_cut(width: int, height: int) -> None:
    found = pages(width, height, Canned())
    assert all(len(page) <= height - 3 and all(len(line) <= width for line in page) for page in found)
    text = " ".join(" ".join(line.split()) for page in found for line in page)
    assert "…" not in text
    for whole in (
        REASON + " (7 events)",
        "Compact Headphones 716",
        "p99 6.2 s ✗ target 2 s / 5 s, 44 samples: the lake had all processors busy;",
        "it is slowest in its first minutes",
        "Records per layer",
        "Retention by week",
    ):
        assert whole in text
    assert len(found) == {24: 8, 40: 4}[height]


def test_rows_that_do_not_fit_are_counted() -> None:
    text = "\n".join("\n".join(page) for page in pages(80, 24, Canned()))
    shown = sum(f"\n {code} " in text for code in REASONS)
    assert 5 < shown < len(REASONS)
    assert f"{len(REASONS) - shown} more at the end, or on a higher terminal." in text


class Terminal:
    """A program in a pseudo-terminal, and the frames that it draws."""

    def __init__(self, width: int, height: int) -> None:
        self._master, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-m", "tests.support.demo_rows"]

        def own_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who was started in the background ignores it

        self.process = subprocess.Popen(
            command,
            stdin=child,
            stdout=child,
            stderr=child,
            env=environment,
            start_new_session=True,
            preexec_fn=own_terminal,
        )
        os.close(child)
        self.raw = ""

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def read(self) -> bool:
        try:
            self.raw += os.read(self._master, 65_536).decode(errors="replace")
        except OSError:
            return False
        return True

    def frame(self, wanted: str, seconds: float = 60) -> list[str]:
        """The newest whole frame, once it has `wanted`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.read():
            for frame in reversed(self.raw.split("\x1b[H")):
                if wanted in frame:
                    return [SEQUENCE.sub("", line).rstrip() for line in frame.split("\n")]
        raise AssertionError(f"{wanted} was not seen in {self.raw[-2000:]}")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pages_turn_by_key_and_the_report_stays_after_ctrl_c(width: int, height: int) -> None:
    terminal = Terminal(width, height)
    first = terminal.frame("page 1/")
    assert len(first) <= height and all(len(line) <= width for line in first)
    assert re.match(r"Shoplake \d\d:\d\d:\d\d UTC · figures \d+ s old$", first[0])
    assert "was flagged 1.4 s after the decisive card" in first[1]
    assert LAST.match(first[-1]), first[-1]
    terminal.press("n")
    second = terminal.frame("page 2/")
    assert second[2:-1] != first[2:-1] and LAST.match(second[-1])
    terminal.press("f")
    terminal.press("p")
    terminal.raw = ""
    terminal.frame("page 1/")
    terminal.press("\x03")
    while terminal.read():
        pass
    assert terminal.process.wait(10) == 0
    left = terminal.raw.rpartition("\x1b[?1049l")[2]
    assert "The whole report, after nothing but f" in SEQUENCE.sub("", left), "on the screen that stays"


def test_pages_turn_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_page, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(demo_page, "TICK_SECONDS", 0.01)
    output, seen = io.StringIO(), 0
    console = Console(file=output, width=80, height=24, color_system=None, force_terminal=True)

    def told() -> str:
        nonlocal seen
        seen += 1
        if seen > 4:
            raise KeyboardInterrupt
        return ""

    with pytest.raises(KeyboardInterrupt):
        demo_page.show(console, view.PANELS, Canned(), told, extras, {"f": ("new thief", lambda: None)})
    assert [int(number) for number, _ in LAST.findall(output.getvalue())] == [2, 3, 4, 5]


def test_a_key_whose_answer_is_on_the_last_page_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_page, "_keyboard", lambda: nullcontext(iter(["", "d"]).__next__))
    output = io.StringIO()
    console = Console(file=output, width=80, height=24, color_system=None, force_terminal=True)
    with pytest.raises(StopIteration):
        demo_page.show(console, view.PANELS, Canned(), lambda: "", extras, {"d": ("dashboards", lambda: True)})
    first, then = [(int(number), int(of)) for number, of in re.findall(r"page (\d+)/(\d+)", output.getvalue())]
    assert first[0] == 1 and then[0] == then[1] > 1


def test_the_age_is_that_of_the_newest_batch() -> None:
    figures = Canned()
    assert figures.age(NOW + timedelta(seconds=5)) == 5
    figures.answers = {}
    assert figures.age(NOW) is None
    assert pages(80, 24, figures)[0][0] == "The first figures are on their way."


def test_a_lake_that_is_away_leaves_the_clock_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_page, "REFRESH_SECONDS", 0.01)

    def away(_reader: object) -> None:
        raise ShoplakeError("S3 does not answer.")

    panel = view.Panel("nothing", (), lambda: "")
    with demo_page.Figures(free_settings(tmp_path), [panel, panel], away) as figures:
        end = time.monotonic() + 30
        while not figures.trouble and time.monotonic() < end:
            time.sleep(0.01)
    assert "waiting: S3 does not answer." in demo_page._header(figures).plain
