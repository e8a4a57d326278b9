"""A shop whose platform runs, what was sent to it, and ways to ask and to wait for it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lakehouse.settings import Settings
from lakehouse.sql import SqlReader, connect
from lakehouse.stream.progress import behind
from producer.publish import publish
from producer.record import Record
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support import command_line, oracle

TOP_N = 10
KEPT_BACK = "OPERATORS_PASSWORD"
"""A variable of the shell that starts the platform, and no business of its parts."""
DAY_MS = 86_400_000
IDENTITY = (
    "select sum(to_offset - from_offset) as offsets, sum(bronze_rows) as bronze, sum(silver_rows) as silver,"
    " sum(duplicate_rows) as duplicates, sum(quarantined_rows) as quarantined from ops.batches"
)


@dataclass
class Shop:
    """A running lake, what was sent to it, and a way to ask it."""

    settings: Settings
    folder: Path
    oracle: oracle.Oracle = field(default_factory=oracle.Oracle)
    sent: int = 0

    def send(self, records: list[Record], **how: object) -> int:
        """Publish records and tell the oracle; how many the broker acknowledged."""
        self.sent += 1
        ledger = self.folder / f"ledger-{self.sent}.jsonl"
        outcome = publish(records, self.settings, ledger=ledger, **how)  # type: ignore[arg-type]
        self.oracle.sent(records, ledger)
        return outcome.acked

    @cached_property
    def reader(self) -> SqlReader:
        """What asks the lake: opened once, since opening it takes longer than most questions."""
        return connect(self.settings)

    def ask(self, sql: str) -> list[dict[str, object]]:
        """Rows of a query over the lake."""
        return self.reader.query(sql)

    def wait_until_read(self, seconds: float = 240) -> None:
        """Return when every record on the broker is in the book."""
        eventually(lambda: behind(self.settings, self.reader) == 0, seconds, "the stream has read everything")


def shop_with_history(settings: Settings, folder: Path, seed: int) -> Shop:
    """A shop of a running platform, which has read three days of traffic with all that may be wrong in it."""
    made = Shop(settings, folder)
    history = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=seed, history_ms=3 * DAY_MS, history_events=6_000, duplicates=0.03,
        late=0.01, malformed=0.03, fraud=0.05, truth=folder / "truth.jsonl",
    )  # fmt: skip
    made.send(list(simulate(history)))
    made.wait_until_read(900)
    return made


def live_load(shop: Shop, seed: int, seconds: float, rate: float = 150) -> threading.Thread:
    """Live traffic in the background, `rate` events per second."""
    options = SimulationOptions(
        now_ms=int(time.time() * 1000),
        seed=seed,
        live=True,
        rate=rate,
        duration_s=seconds,
        duplicates=0.05,
        malformed=0.02,
    )
    records = list(simulate(options))
    thread = threading.Thread(target=shop.send, args=(records,), kwargs={"live_from": options.now_ms / 1000})
    thread.start()
    return thread


def beside(settings: Settings, folder: Path, **overrides: object) -> Settings:
    """A lake with a data folder of its own on the servers of another, which tell their own by its secret."""
    own = settings.model_copy(update={"data_dir": folder / "lake", **overrides})
    own.data_dir.mkdir(parents=True, exist_ok=True)
    (own.data_dir / "lake.secret").write_bytes((settings.data_dir / "lake.secret").read_bytes())
    return own


def environment_of(shop: Shop) -> dict[str, str]:
    """Settings of the shop as environment variables, for commands in processes of their own."""
    return {f"SHOPLAKE_{name.upper()}": str(value) for name, value in shop.settings.model_dump().items() if value}


def shoplake(shop: Shop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The end of a command line on the shop's lake, with what it said."""
    return command_line.shoplake(*arguments, environment=os.environ | environment_of(shop), folder=shop.folder)


def eventually(holds: Callable[[], Any], seconds: float, what: str, pause: float = 0.5) -> Any:
    """Wait for `holds()` and return it; fail with `what` after a generous time: slow machines decide nothing."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(pause)
    return found


def tuples(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows]


def assert_gold_is_right(shop: Shop) -> None:
    """Hourly ranks and figures, to the last row; late hours are restated within seconds."""
    database = shop.oracle.open()
    expected_ranks = oracle.hourly_products(database, TOP_N)
    ranks = "select hour_start, rank, product_id, views, unique_viewers from gold.top_products_hourly order by 1, 2"
    eventually(lambda: tuples(shop.ask(ranks)) == expected_ranks, 120, "hourly ranks equal the recompute")
    figures = (
        "select hour_start, page_views, product_views, clicks, carts, purchases, searches, revenue,"
        " unique_users, round(conversion_rate, 9) from gold.kpis_hourly order by 1"
    )
    expected_figures = oracle.hourly_figures(database)
    eventually(lambda: tuples(shop.ask(figures)) == expected_figures, 120, "hourly figures equal the recompute")
    expected_revenue = oracle.hourly_revenue(database)
    sold = "select hour_start, currency, purchases, orders, revenue from gold.revenue_hourly order by 1, 2"
    eventually(lambda: tuples(shop.ask(sold)) == expected_revenue, 120, "revenue equals the recompute")


def assert_books_balance(shop: Shop) -> None:
    """The identity in the book, in the tables, and against the broker's acknowledgements."""
    expected = oracle.counts(shop.oracle.open())
    (book,) = shop.ask(IDENTITY)
    assert book["offsets"] == book["bronze"] == expected["bronze"]
    assert {name: book[name] for name in expected} == expected
    tables = {"bronze": "bronze.events", "silver": "silver.events", "quarantined": "silver.quarantine"}
    for name, table in tables.items():
        (row,) = shop.ask(f'select count(*) as n, count(distinct (topic, "partition", "offset")) as d from {table}')
        assert row["n"] == row["d"] == expected[name], table
