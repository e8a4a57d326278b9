"""Tables of docs/scaling.md and docs/faults.md from measured figures: `python -m deploy.capacity --write`.

Those of sizes and bills are calculated by the same code as `make cost`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deploy.capacity.bill import bill
from deploy.capacity.measured import Measured, cluster_figures, measured, recovery_seconds
from deploy.capacity.prices import MONTH_HOURS, Prices, load_prices
from deploy.capacity.sizing import Sizing, size

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = (DOCS / "scaling.md", DOCS / "faults.md")
RATES = (10, 1_000, 10_000, 100_000, 1_000_000)
RETENTION_DAYS = 30
ANSWERS = {
    "stream": ("supervisor; goes on where the book ends", "`test_kill_under_load[stream]`"),
    "spark": ("supervisor; the stream starts again, runs are tried again", "`test_kill_under_load[spark]`"),
    "s3": ("supervisor; requests are tried again meanwhile", "`test_kill_under_load[s3]`"),
    "kafka": ("supervisor; producers and the stream wait", "`test_kill_under_load[kafka]`"),
    "worker": ("supervisor; runs are reconciled, and tried again", "`test_a_killed_worker_service_comes_back`"),
    "publisher": ("supervisor; the published file stays", "none of its own"),
    "api": (
        "supervisor; it holds no state",
        "`test_killed_with_runs_in_flight_nothing_is_lost_or_doubled`",
    ),
}
_BLOCK = "<!-- {name}: made by `python -m deploy.capacity --write` -->\n"
_END = "<!-- end -->"


def described(sizing: Sizing) -> dict[str, str]:
    """A deployment in words."""
    on_cluster = sizing.executors > 0
    return {
        "machines": " + ".join(f"{count} x {name}" for name, count in sizing.machines.items()),
        "Spark": f"driver and {sizing.executors} executors" if on_cluster else "one process, local[*]",
        "cores for the stream": f"{sizing.cores:,}",
        "brokers": f"{sizing.brokers} x {sizing.broker}",
        "partitions per topic": f"{sizing.partitions:,}",
        "hours in Kafka": f"{sizing.kafka_hours}",
        "seconds between batches": f"{sizing.interval_seconds}",
        "data files per batch and table": f"{sizing.files_per_batch}",
        "S3 requests per day": f"{(sizing.puts_per_month + sizing.gets_per_month) * 24 / MONTH_HOURS / 1e6:,.1f} M",
        "hot window in memory": _gb(sizing.hot_window_gb),
        "S3, new per day": _gb(sizing.s3_gb_per_day),
        "S3, kept": _gb(sizing.s3_gb),
        "Kafka, kept": _gb(sizing.kafka_gb),
    }


def rendered(page: str) -> str:
    """A page with its tables renewed; what stands between them stays."""
    found, prices = measured(), load_prices()
    sizings = [size(rate, RETENTION_DAYS, found, prices) for rate in RATES]
    tables = {
        "measured": _measured_table(found),
        "sizes": _sizes_table(sizings),
        "bills": _bills_table(sizings, prices),
        "recovery": _recovery_table(),
        "cluster": _cluster_table(),
    }
    for name, table in tables.items():
        begin, _, rest = page.partition(_BLOCK.format(name=name))
        if rest:
            page = f"{begin}{_BLOCK.format(name=name)}\n{table}\n{_END}{rest.partition(_END)[2]}"
    return page


def write() -> None:
    """Renew the pages."""
    for file in PAGES:
        file.write_text(rendered(file.read_text()))


def _measured_table(found: Measured) -> str:
    bulk = "`make bench`"
    footprint = "`python -m benchmarks.footprint`"
    return _table(
        ["figure", "value", "measured by"],
        [
            ["bulk speed, everything on 2 cores", f"{found.events_per_second:,.0f} events/s", bulk],
            ["time of a core per event, from it", f"{found.cpu_seconds * 1e6:,.0f} µs", bulk],
            ["an event as sent", f"{found.sent_bytes:,.0f} bytes", footprint],
            ["an event on a broker's disk (lz4)", f"{found.broker_bytes:,.0f} bytes", footprint],
            ["an event in all tables, compacted", f"{found.tables_bytes:,.0f} bytes", footprint],
            ["S3 PUT and LIST per micro-batch", f"{found.puts_per_batch:,.0f}", footprint],
            ["S3 GET and HEAD per micro-batch", f"{found.gets_per_batch:,.0f}", footprint],
            ["a micro-batch of few events", f"{found.small_batch_seconds:,.1f} s", footprint],
            [
                "time of a core per micro-batch and million events in the hot window",
                f"{found.hot_cpu_seconds * 1e6:,.1f} s",
                footprint,
            ],
        ],
    )


def _sizes_table(sizings: list[Sizing]) -> str:
    columns = [described(sizing) for sizing in sizings]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return _table(["events/s", *(f"{rate:,}" for rate in RATES)], rows)


def _bills_table(sizings: list[Sizing], prices: Prices) -> str:
    bills = [bill(sizing, prices) for sizing in sizings]
    rows = [[lines[0].service, *(f"{line.usd:,.0f}" for line in lines)] for lines in zip(*bills, strict=True)]
    sums = [sum(line.usd for line in lines) for lines in bills]
    rows.append(["**together**", *(f"**{total:,.0f}**" for total in sums)])
    per_million = [total / (rate * prices.month_hours * 3600 / 1e6) for total, rate in zip(sums, RATES, strict=True)]
    rows.append(["per million events", *(f"{each:,.2f}" for each in per_million)])
    return _table(["USD a month at events/s", *(f"{rate:,}" for rate in RATES)], rows)


def _recovery_table() -> str:
    took = recovery_seconds()
    rows = [[f"`{part}`", f"{took[part]:,.0f} s", *ANSWERS[part]] for part in ANSWERS]
    return _table(["killed", "until it works again, measured", "what recovers it", "test"], rows)


def _cluster_table() -> str:
    """A row per cluster: how long until so much of its backlog was left, and how fast it was on the whole."""
    curves: dict[str, dict[str, str]] = {}
    efficiency = ""
    for name, value in cluster_figures().items():
        cluster, _, what = name.partition(": ")
        if not what:
            efficiency = f"{value:,.0f} %"
        elif what == "speed":
            curves[cluster]["events/s"] = f"{value:,.0f}"
        else:
            waiting, _, left = what.partition(" waiting, ")
            curves.setdefault(cluster, {"records that wait": waiting})[left] = f"{value:,.0f} s"
    header = ["", *next(iter(curves.values()))]
    rows = [[cluster, *curve.values()] for cluster, curve in curves.items()]
    return f"{_table(header, rows)}\nWeak scaling, of the ideal: **{efficiency}**.\n"


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _gb(value: float) -> str:
    return f"{value / 1000:,.1f} TB" if value >= 1000 else f"{value:,.1f} GB" if value < 10 else f"{value:,.0f} GB"
