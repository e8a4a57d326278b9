"""The demo's live page: panels on as many pages as the terminal needs. They turn by key and by time."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.text import Text

from lakehouse.cli.demo.view import Panel, Rows
from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.terminal import visible

REFRESH_SECONDS = 2.0
TURN_SECONDS = 12.0
HOLD_SECONDS = 60.0
"""After a key no page turns by itself for so long."""
TICK_SECONDS = 1.0
HEADER, FOOTER = 2, 1
TURNS = {"n": 1, " ": 1, "\x1b[C": 1, "p": -1, "\x1b[D": -1}
KEY = re.compile(r"\x1b\[.|.")


class Figures:
    """Asks for the panels' rows, beside the page: its clock goes on while the lake is slow to answer or away."""

    def __init__(self, settings: Settings, panels: Sequence[Panel], look: Callable[[SqlReader], object]) -> None:
        """`look` is called with every round, after the first panel, which is the most urgent."""
        self._settings, self._panels, self._look = settings, panels, look
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)
        self.answers: dict[int, tuple[Rows, ...]] = {}
        """The newest rows by the panel's number."""
        self.trouble = ""

    def __enter__(self) -> Figures:
        """Begin asking."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask no more."""
        self._end.set()
        self._thread.join(10)

    def age(self, now: datetime) -> float | None:
        """Seconds since the newest batch that the figures count was committed."""
        moments = [row["committed_at"] for rows in self.answers.get(0, ())[:1] for row in rows]
        return max(0.0, (now - max(moments)).total_seconds()) if moments else None

    def _ask_on(self) -> None:
        turn = 0
        with connect(self._settings) as reader:
            while not self._end.is_set():
                # The first two panels move with every batch; of the others one has its turn, or they take the time.
                slow = range(2, len(self._panels)) if not turn else [2 + turn % max(1, len(self._panels) - 2)]
                try:
                    for number in (0, 1, *slow):
                        self.answers[number] = self._panels[number].ask(reader)
                        self._look(reader)
                    self.trouble, turn = "", turn + 1
                except ShoplakeError as error:
                    self.trouble = str(error)
                self._end.wait(REFRESH_SECONDS)


def show(
    console: Console,
    panels: Sequence[Panel],
    figures: Figures,
    told: Callable[[], RenderableType],
    extras: Callable[[], Sequence[RenderableType]],
    keys: Mapping[str, tuple[str, Callable[[], bool | None]]],
) -> None:
    """Show the pages until Ctrl-C. `told` is the second line of each page, `extras` follow the first
    panel and all of them, and `keys` do something: what, as the last line says, and how. One that returns true has
    its answer on the last page, which is shown then."""
    page, turned, hold = 0, time.monotonic(), TURN_SECONDS
    with _keyboard() as pressed, figures, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            pages = _pages(console, _drawn(console, panels, figures, extras))
            step = 0
            for key in pressed():
                step += TURNS.get(key, 0)
                if key in keys and keys[key][1]():
                    page, step = 0, -1
            now = time.monotonic()
            if step or now - turned > hold:
                page, turned, hold = page + (step or 1), now, HOLD_SECONDS if step else TURN_SECONDS
            body = pages[page % len(pages)]
            what = " · ".join(["n, p turn", *(f"{key} {what}" for key, (what, _) in keys.items())])
            last = f"Ctrl-C ends and prints all · {what} · page {page % len(pages) + 1}/{len(pages)}"
            live.update(_screen(_header(figures), told(), body, last), refresh=True)


def _drawn(
    console: Console, panels: Sequence[Panel], figures: Figures, extras: Callable[[], Sequence[RenderableType]]
) -> Iterator[RenderableType]:
    """What there is to see; a panel that is higher than a page shows fewer rows, and says so."""
    if not figures.answers:
        yield Text("The first figures are on their way.")
    first, *others = extras()
    for number in sorted(figures.answers):
        yield fitted(console, panels[number], figures.answers[number], console.height - HEADER - FOOTER)
        if number == 0:
            yield first
    yield from others


def fitted(console: Console, panel: Panel, answers: tuple[Rows, ...], height: int) -> RenderableType:
    """The panel with as many rows as a height allows."""
    rows, *others = answers
    for shown in range(len(rows), 0, -1):
        drawn = panel.draw(rows[:shown], *others)
        if shown < len(rows):
            drawn = Group(drawn, Text(f"{len(rows) - shown} more at the end, or on a higher terminal.", style="dim"))
        if _height(console, drawn) <= height:
            return drawn
    return panel.draw(rows[:1], *others)


def _height(console: Console, drawn: RenderableType) -> int:
    return len(console.render_lines(drawn, pad=False))


def _pages(console: Console, drawn: Iterator[RenderableType]) -> list[RenderableType]:
    """The panels in their order, with a line between, as many on a page as fit."""
    room, pages, used = console.height - HEADER - FOOTER, list[list[RenderableType]](), 0
    for one in drawn:
        height = _height(console, one)
        if pages and used + 1 + height <= room:
            pages[-1] += [Text(""), one]
            used += 1 + height
        else:
            pages.append([one])
            used = height
    return [Group(*page) for page in pages]


def _header(figures: Figures) -> Text:
    now = datetime.now(UTC)
    age = figures.age(now)
    line = Text.assemble((f"Shoplake {now:%H:%M:%S} UTC", "bold"), " · ", no_wrap=True, overflow="ellipsis")
    line.append("no figures yet" if age is None else f"figures {age:.0f} s old")
    if figures.trouble:
        line.append(f" · waiting: {visible(figures.trouble)}", style="yellow")
    return line


def _screen(header: Text, told: RenderableType, body: RenderableType, last: str) -> Layout:
    layout = Layout()
    layout.split_column(
        Layout(Group(header, told), size=HEADER), Layout(body), Layout(Text(last, style="dim"), size=FOOTER)
    )
    return layout


@contextmanager
def _keyboard() -> Iterator[Callable[[], list[str]]]:
    """A function that waits a moment for keys, and gives those that were pressed. Ctrl-C stays what it is."""
    streams = [sys.stdin] if sys.stdin.isatty() else []

    def pressed() -> list[str]:
        ready, _, _ = select.select(streams, [], [], TICK_SECONDS)
        return KEY.findall(os.read(sys.stdin.fileno(), 64).decode(errors="replace")) if ready else []

    if not streams:
        yield pressed
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
