"""Publishing records to Kafka, from one process or several, at full speed or in step with the clock."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from producer.record import Record
from producer.sender import ACKED, COUNTERS, FAILED, SENT, WAITING, Event, Sender, prepare_topics

CHUNK = 500
"""Records handed on at once."""
TICK_SECONDS = 0.01
"""Shortest sleep of live traffic: what is due within it goes out together."""


@dataclass(frozen=True)
class Counts:
    """How many records were handed to Kafka's client, and what became of them."""

    sent: int
    acked: int
    failed: int
    seconds: float
    waiting: bool = False

    @property
    def unacknowledged(self) -> int:
        """Records whose fate is unknown: sent, but never answered."""
        return self.sent - self.acked - self.failed

    @property
    def rate(self) -> float:
        """Acknowledged records per second."""
        return self.acked / self.seconds if self.seconds > 0 else 0.0


Observer = Callable[[Counts], None]


class _Outlet(Protocol):
    def put(self, records: list[Record]) -> None: ...
    def close(self) -> None: ...


def publish(
    records: Iterable[Record],
    settings: Settings,
    *,
    processes: int = 1,
    ledger: Path | None = None,
    live_from: float | None = None,
    stop: threading.Event | None = None,
    observe: Observer | None = None,
) -> Counts:
    """Send `records` to Kafka in their order (per user, with several processes) and wait until all are acknowledged.

    With `live_from` (epoch seconds of simulated time) a record leaves when the clock has gone as far past the start
    of publishing, or past `live_from` if that is about now, as its `due` is past `live_from`; without, at full speed.
    `ledger` gets a JSON line per acknowledged record. `stop` ends early: what was sent is still flushed and counted.
    `observe` is called a few times a second, from another thread. A broker that is away is waited for.
    """
    stop = stop or threading.Event()
    if ledger is not None:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        ledger.write_bytes(b"")
    began = time.monotonic()
    with rare_collections(), _outlet(settings, processes, ledger, stop) as (outlet, counters):

        def counts() -> Counts:
            totals = [sum(each[place] for each in counters) for place in range(COUNTERS)]
            seconds = time.monotonic() - began
            return Counts(totals[SENT], totals[ACKED], totals[FAILED], seconds, bool(totals[WAITING]))

        with _observed(counts, observe):
            try:
                _feed(records, outlet, live_from, stop)
            finally:
                outlet.close()
        return counts()


def _feed(records: Iterable[Record], outlet: _Outlet, live_from: float | None, stop: threading.Event) -> None:
    chunk: list[Record] = []
    offset = None if live_from is None else _clock_offset(live_from)
    for record in records:
        if offset is not None and record.due > live_from:  # type: ignore[operator]
            wait = record.due + offset - time.time()
            if wait > 0:
                outlet.put(chunk)
                chunk = []
                stop.wait(max(wait, TICK_SECONDS))
        if stop.is_set():
            break
        chunk.append(record)
        if len(chunk) >= CHUNK:
            outlet.put(chunk)
            chunk = []
    outlet.put(chunk)


@contextmanager
def rare_collections() -> Iterator[None]:
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

    def watch(notify: Observer) -> None:
        while not done.wait(0.25):
            notify(counts())

    thread = threading.Thread(target=watch, args=(observe,), daemon=True) if observe else None
    if thread:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if thread:
            thread.join()


@contextmanager
def _outlet(
    settings: Settings, processes: int, ledger: Path | None, stop: threading.Event
) -> Iterator[tuple[_Outlet, list[Any]]]:
    if processes <= 1:
        counters = [0] * COUNTERS
        yield _Inline(settings, counters, stop, ledger), [counters]
        return
    workers = _Workers(settings, processes, ledger, stop)
    yield workers, workers.counters


class _Inline:
    """Sends from this process."""

    def __init__(self, settings: Settings, counters: list[int], stop: Event, ledger: Path | None) -> None:
        self._sender = Sender(settings, counters, stop, ledger)
        self._prepare = partial(prepare_topics, settings, counters, stop)
        self._connected: bool | None = None

    def put(self, records: list[Record]) -> None:
        if self._connected is None:
            self._connected = self._prepare() and self._sender.connect()
        if self._connected:
            self._sender.send(records)

    def close(self) -> None:
        self._sender.finish()


class _Workers:
    """Sends from several processes. A user's records all go through the same one, so their order is kept."""

    def __init__(self, settings: Settings, processes: int, ledger: Path | None, stop: threading.Event) -> None:
        context = get_context("spawn")
        self.counters: list[Any] = [context.RawArray("q", COUNTERS) for _ in range(processes)]
        self._stopped = context.Event()
        self._prepare = partial(prepare_topics, settings, self.counters[0], stop)
        self._prepared: bool | None = None
        self._closed = threading.Event()
        self._pipes: list[Connection] = []
        self._processes = []
        for counters in self.counters:
            reader, writer = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(reader, settings, counters, self._stopped, ledger), daemon=True
            )
            process.start()
            reader.close()
            self._pipes.append(writer)
            self._processes.append(process)
        # A put may block on a full pipe while Kafka is away, so the wish to stop travels on its own.
        self._relay = threading.Thread(target=self._relay_stop, args=(stop,), daemon=True)
        self._relay.start()

    def put(self, records: list[Record]) -> None:
        if self._prepared is None:
            self._prepared = self._prepare()
        if not self._prepared:
            return
        shares: list[list[Record]] = [[] for _ in self._pipes]
        count = len(shares)
        for record in records:
            shares[zlib.crc32(record.key or b"") % count].append(record)
        for pipe, share in zip(self._pipes, shares, strict=True):
            if share:
                self._hand_over(pipe, share)

    def _hand_over(self, pipe: Connection, share: list[Record]) -> None:
        try:
            pipe.send_bytes(pickle.dumps([tuple(record) for record in share], protocol=5))
        except OSError as error:
            raise ShoplakeError("A publishing process ended unexpectedly; its records are lost.") from error

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()
        self._closed.set()
        self._relay.join()

    def _relay_stop(self, stop: threading.Event) -> None:
        while not self._closed.is_set():
            if stop.wait(0.2):
                self._stopped.set()
                return


def _work(reader: Connection, settings: Settings, counters: Any, stop: Event, ledger: Path | None) -> None:
    """One worker: send what comes through the pipe until it closes."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop, and still flushes
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sender = Sender(settings, counters, stop, ledger)
    with rare_collections():
        connected = sender.connect()
        while True:
            try:
                share = pickle.loads(reader.recv_bytes())  # noqa: S301 - our own parent wrote it
            except EOFError:
                break
            if connected and not stop.is_set():
                sender.send([Record._make(fields) for fields in share])
        sender.finish()
