"""Shoplake beside what a user would pick instead: `python -m benchmarks.peers`.

All read the same topics, which one simulator fills, and write Delta tables to the same S3 server, each to a bucket of
its own. They take turns: while one runs the others are halted, and all are warm. A turn begins with a backlog, and ends
when gold counts all of it, to the same rows as DuckDB over all that was sent.
"""

import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import traffic
from benchmarks.figures import Figure, report
from benchmarks.peers.gold import Oracle, Probe
from benchmarks.peers.systems import KNOWN, ROOT, VENV, Shoplake, System, started
from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from producer.publish import publish
from producer.record import Record
from producer.simulator import SimulationOptions, simulate

LOCK = ROOT / "benchmarks" / "peers" / "requirements.txt"
CLEAN = {"malformed": 0.0, "late": 0.0}
"""Only what every system counts: no record is to be refused, and none is older than Spark's watermark."""
LONGEST_TURN, SETTLE_SECONDS = 900.0, 20
SPEED, COST, MEMORY = "bulk, Kafka → bronze → silver → gold", "processor per million events", "peak memory"
UNITS = {SPEED: "events/s", COST: "core-s", MEMORY: "GB"}
RATIO = "Shoplake's events/s over its own"
Measured = dict[str, dict[str, list[float]]]
"""Figures of each turn, by system and by name."""


def main(
    pairs: Annotated[int, typer.Option(help="How often every system takes its turn.")] = 5,
    events: Annotated[int, typer.Option(help="Events that wait at each turn.")] = 300_000,
    peers: Annotated[str, typer.Option(help="Which peers, separated by commas.")] = ",".join(KNOWN),
    live: Annotated[int, typer.Option(help="Events per second for freshness; 0 leaves it out.")] = 0,
    seconds: Annotated[int, typer.Option(help="How long freshness is measured, each.")] = 60,
) -> None:
    """Measure, print, and write the figures into benchmarks/results/peers.json."""
    _make_venv()
    turns: Measured = defaultdict(lambda: defaultdict(list))
    with traffic.started() as (settings, say), started(settings, peers.split(",")) as systems:
        oracle = Oracle()
        for number in range(pairs + 1):
            _send(settings, traffic.history(events, days=1 / 24, seed=100 + number, **CLEAN), oracle)
            for system in systems:
                say(f"Turn {number} of {pairs}, {system.name}" if number else f"Warming up, {system.name}")
                measured = _turn(system, oracle, events)
                say(f"{system.name}: {measured[SPEED]:,.0f} {UNITS[SPEED]}")
                for name, value in measured.items():
                    if number:
                        turns[system.name][name].append(value)
        fresh = [one for system in systems if live for one in _freshness(settings, system, oracle, live, seconds)]
    command = f"python -m benchmarks.peers --pairs {pairs} --events {events} --peers {peers}"
    command += f" --live {live} --seconds {seconds}" if live else ""
    guarantees = {one.name: one.guarantees for one in systems}
    _print(turns, guarantees)
    report("peers", command, [*_figures(turns), *fresh], guarantees=guarantees, turns=turns)


def _make_venv() -> None:
    """The environment of the peers' own packages, which are none of this project's."""
    done = VENV / ".installed"
    if not done.exists() or done.stat().st_mtime < LOCK.stat().st_mtime:
        install = [sys.executable, "requirements/install.py", "tool", str(VENV.relative_to(ROOT)), str(LOCK)]
        subprocess.run(install, cwd=ROOT, check=True)


def _send(settings: Settings, options: SimulationOptions, oracle: Oracle, ledger: Path | None = None) -> list[Record]:
    records = list(simulate(options))
    publish(records, settings, ledger=ledger, live_from=options.now_ms / 1000 if options.live else None)
    oracle.add(records)
    return records


def _turn(system: System, oracle: Oracle, events: int) -> dict[str, float]:
    """Let one system have what waits, while the others are halted."""
    before, _ = system.spent()
    system.resume()
    ended, memory = _caught_up(system, oracle)
    after, _ = system.spent()
    took = ended - system.began()
    system.pause()
    return {SPEED: events / took, COST: (after - before) / events * 1e6, MEMORY: memory}


def _caught_up(system: System, oracle: Oracle) -> tuple[float, float]:
    """When its gold says what was sent, and nothing else; and the most memory until then."""
    wanted, memory, end = oracle.rows(), 0.0, time.monotonic() + LONGEST_TURN
    while not system.gold.says(wanted):
        memory = max(memory, system.spent()[1])
        if time.monotonic() > end:
            raise ShoplakeError(f"{system.name}: gold does not say what was sent after {LONGEST_TURN:.0f} s.")
        time.sleep(0.1)
    return time.time(), memory


def _freshness(settings: Settings, system: System, oracle: Oracle, rate: int, seconds: int) -> list[Figure]:
    """How soon gold counts what is produced live."""
    ledger = settings.data_dir / f"ledger-{system.name}.jsonl"
    system.resume()
    _caught_up(system, oracle)
    _send(settings, traffic.live(rate, SETTLE_SECONDS, seed=7, **CLEAN), oracle)
    _caught_up(system, oracle)  # or what it counts late would be taken for what comes now
    probe = Probe(settings, system.gold)
    probe.start()
    records = _send(settings, traffic.live(rate, seconds, seed=8, **CLEAN), oracle, ledger)
    _caught_up(system, oracle)
    probe.stop()
    system.pause()
    found = probe.result(records, ledger)
    named = {"p50": found.p50, "p95": found.p95, "p99": found.p99}
    return [Figure(f"{system.name}: freshness {name} at {rate:,}/s", each or 0, "s") for name, each in named.items()]


def _figures(turns: Measured) -> list[Figure]:
    """Medians of the turns, and by how much ours is quicker than each peer, turn by turn."""
    found = []
    for name, each in turns.items():
        found += [Figure(f"{name}: {figure}", statistics.median(each[figure]), unit) for figure, unit in UNITS.items()]
        if name != Shoplake.name:
            ratios = _ratios(turns, name)
            for which, value in (("median", statistics.median(ratios)), ("least", min(ratios)), ("most", max(ratios))):
                found.append(Figure(f"{name}: {RATIO}, {which}", value, "times"))
    return found


def _ratios(turns: Measured, name: str) -> list[float]:
    return [own / other for own, other in zip(turns[Shoplake.name][SPEED], turns[name][SPEED], strict=True)]


def _print(turns: Measured, guarantees: dict[str, dict[str, str]]) -> None:
    """A table of figures, and one of what each gives for them."""
    figures = Table("", *UNITS.values(), "Shoplake / it", "counts equal")
    for name, each in turns.items():
        figures.add_row(name, *(_spread(each[figure]) for figure in UNITS), _spread(_ratios(turns, name)), "yes")
    given = Table("", *next(iter(guarantees.values())))
    for name, said in guarantees.items():
        given.add_row(name, *said.values())
    Console().print(figures, given)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.2f} ({min(values):,.2f}–{max(values):,.2f})"


if __name__ == "__main__":
    typer.run(main)
