"""Publishing records to Kafka, at full speed or in step with the clock."""

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lakehouse.settings import Settings
from producer.record import Record
from producer.sender import Counts, Sender

CHUNK = 500
"""Records handed on at once."""
TICK_SECONDS = 0.01
"""Shortest sleep of live traffic: what is due within it goes out together."""
Observer = Callable[[Counts], None]


def publish(
    records: Iterable[Record],
    settings: Settings,
    *,
    ledger: Path | None = None,
    live_from: float | None = None,
    stop: threading.Event | None = None,
    observe: Observer | None = None,
) -> Counts:
    """Send `records` to Kafka in their order and wait until all are acknowledged.

    With `live_from` (epoch seconds of simulated time) a record leaves when the clock has gone as far past the start
    of publishing, or past `live_from` if that is about now, as its `due` is past `live_from`; without, at full speed.
    `ledger` gets a JSON line per acknowledged record. `stop` ends early: what was sent is still flushed and counted.
    `observe` is called a few times a second, from another thread. A broker that is away is waited for.
    """
    stop = stop or threading.Event()
    began, sender = time.monotonic(), Sender(settings, stop, ledger)
    offset = None if live_from is None else _clock_offset(live_from)

    def counts() -> Counts:
        return replace(sender.counts, seconds=time.monotonic() - began)

    with _rare_collections(), _observed(counts, observe):
        try:
            if sender.connect():
                _feed(records, sender, live_from, offset, stop)
        finally:
            sender.finish()
    return counts()


def _feed(
    records: Iterable[Record], sender: Sender, live_from: float | None, offset: float | None, stop: threading.Event
) -> None:
    chunk: list[Record] = []
    for record in records:
        if offset is not None and record.due > live_from:  # type: ignore[operator]
            wait = record.due + offset - time.time()
            if wait > 0:
                sender.send(chunk)
                chunk = []
                stop.wait(max(wait, TICK_SECONDS))
        if stop.is_set():
            break
        chunk.append(record)
        if len(chunk) >= CHUNK:
            sender.send(chunk)
            chunk = []
    sender.send(chunk)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Millions of small objects come and go here with hardly a cycle among them: looking for cycles at the usual
    pace takes a third of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _clock_offset(live_from: float) -> float:
    """What to add to simulated time for wall time: nothing when the simulation begins about now."""
    now = time.time()
    return 0.0 if abs(now - live_from) < 600 else now - live_from


@contextmanager
def _observed(counts: Callable[[], Counts], observe: Observer | None) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while observe and not done.wait(0.25):
            observe(counts())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
