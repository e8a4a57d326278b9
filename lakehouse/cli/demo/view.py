"""What the demo shows: one query and one pure function (rows → rich renderable) per panel.

Every panel reads well at 80 columns and without colour; colour only repeats what a word or sign says.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lakehouse.cli.demo.traffic import CARDS, TARGET, Thief
from lakehouse.sql import SqlReader
from lakehouse.terminal import visible
from producer.contract import meaning_and_remedy

Row = dict[str, Any]
Rows = Sequence[Row]


@dataclass(frozen=True)
class Trust:
    """What the lake says of itself: runs of three jobs as they ended, and what the publisher holds back."""

    replay: Row
    ledger: Row
    gate: Row
    held_back: dict[str, str]
    """Failing expectations by table."""

    @property
    def is_right(self) -> bool:
        """Whether the books balance and nothing is held back."""
        return all(run["state"] == "succeeded" for run in (self.replay, self.ledger, self.gate)) and not self.held_back


LAYERS = """
WITH b AS (SELECT topic, count(*) AS n FROM bronze.events GROUP BY topic),
     s AS (SELECT topic, count(*) AS n FROM silver.events GROUP BY topic),
     q AS (SELECT topic, count(*) AS n FROM silver.quarantine GROUP BY topic),
     d AS (SELECT topic, sum(duplicate_rows) AS n FROM ops.batches GROUP BY topic)
SELECT topic, coalesce(b.n, 0) AS bronze, coalesce(s.n, 0) AS silver,
       coalesce(d.n, 0) AS duplicates, coalesce(q.n, 0) AS quarantined
FROM b FULL JOIN s USING (topic) FULL JOIN q USING (topic) FULL JOIN d USING (topic)
ORDER BY topic
"""
BOOK = """
SELECT topic, sum(bronze_rows)::BIGINT AS bronze, sum(silver_rows)::BIGINT AS silver,
       sum(duplicate_rows)::BIGINT AS duplicates, sum(quarantined_rows)::BIGINT AS quarantined,
       max(committed_at) AS committed_at
FROM ops.batches GROUP BY topic ORDER BY topic
"""
"""The same of finished batches: beside live traffic the tables differ by the batch that is being written."""
LAST_HOUR = """
SELECT as_of, rank, product_id, product_name, views, unique_viewers
FROM gold.top_products_last_hour ORDER BY rank LIMIT 10
"""
HOURLY_PRODUCTS = """
SELECT hour_start, status, rank, product_id, product_name, views
FROM gold.top_products_hourly
WHERE rank <= 3 AND hour_start > (SELECT max(hour_start) FROM gold.top_products_hourly) - INTERVAL 6 HOUR
ORDER BY hour_start DESC, rank
"""
HOURLY_FIGURES = """
SELECT hour_start, page_views, product_views, clicks, carts, purchases, searches, revenue, unique_users,
       conversion_rate
FROM gold.kpis_hourly ORDER BY hour_start DESC LIMIT 6
"""
FLAGS = """
SELECT event_time, rule_id, severity, score, entity_type, entity, reason, len(evidence) AS events
FROM gold.fraud_flags ORDER BY event_time DESC, flag_id LIMIT 8
"""
FLAG_COUNTS = "SELECT rule_id, count(*) AS flags FROM gold.fraud_flags GROUP BY rule_id ORDER BY flags DESC, rule_id"
QUARANTINE = """
SELECT reason_code, count(*) AS records
FROM silver.quarantine WHERE status = 'open' GROUP BY reason_code ORDER BY records DESC, reason_code
"""
RETENTION = """
SELECT cohort_start, cohort_size, period_index, retained_users, retention_rate, is_complete
FROM gold.cohort_retention
WHERE granularity = 'week' AND definition = 'n_day' AND activity = 'any'
ORDER BY cohort_start, period_index
"""

BAR = 20
SEVERITY_STYLES = {"high": "bold red", "medium": "yellow", "low": "cyan"}
HEAT = ("on grey15", "on #10303f", "on #0f4a5c", "on #0d6b6f", "black on #2f9e77", "black on #8fd16a")
HEAT_LIMITS = (0.05, 0.1, 0.2, 0.4, 0.7)


def balance(row: Row) -> int:
    """Records of bronze that are in none of silver, duplicates and quarantine (or, negative, in two): 0 is right."""
    return int(row["bronze"]) - int(row["silver"]) - int(row["duplicates"]) - int(row["quarantined"])


def is_balanced(rows: Rows) -> bool:
    """Whether there are records, and every one of them is accounted for on every topic."""
    return bool(rows) and all(balance(row) == 0 for row in rows)


def layers(rows: Rows) -> Table:
    """Records per topic and layer, with the identity bronze = silver + duplicates + quarantined."""
    counts = ("bronze", "silver", "duplicates", "quarantined")
    table = _table(
        "Records per layer: bronze = silver + duplicates + quarantined", "topic", right=(*counts, "identity")
    )
    for row in rows:
        table.add_row(row["topic"], *(_count(row[name]) for name in counts), _identity(row))
    total = {name: sum(int(row[name]) for row in rows) for name in counts}
    table.add_section()
    table.add_row("all", *(_count(total[name]) for name in counts), _identity(total), style="bold")
    return table


def top_products(rows: Rows) -> RenderableType:
    """The rolling top 10, with a bar per product."""
    if not rows:
        return _nothing("Top products, last 60 minutes", "no product was viewed in the last hour")
    title = f"Top products, last 60 minutes to {rows[0]['as_of']:%H:%M:%S} UTC"
    table = _table(title, "#", "product", right=("views", "viewers", ""))
    table.columns[0].justify, table.columns[-1].justify = "right", "left"
    most = max(int(row["views"]) for row in rows) or 1
    for row in rows:
        bar = Text("█" * max(1, round(BAR * int(row["views"]) / most)), style="cyan")
        table.add_row(str(row["rank"]), _product(row), _count(row["views"]), _count(row["unique_viewers"]), bar)
    return table


def hourly_products(rows: Rows) -> RenderableType:
    """One line per clock hour with its first three products."""
    if not rows:
        return _nothing("Top products by clock hour", "no hour has a viewed product yet")
    table = _table("Top products by clock hour (UTC; * not final yet)", "hour")
    for head in ("first", "second", "third"):
        table.add_column(head)
    for hour, group in groupby(rows, key=lambda row: row["hour_start"]):
        ranked = list(group)
        cells = [Text.assemble(_product(row), (f" {_count(row['views'])}", "dim")) for row in ranked[:3]]
        mark = "" if ranked[0]["status"] == "final" else "*"
        table.add_row(_hour(hour) + mark, *cells, *[""] * (3 - len(cells)))
    return table


def hourly_figures(rows: Rows) -> RenderableType:
    """The shop's figures per clock hour."""
    if not rows:
        return _nothing("The shop by clock hour", "no hour has an event yet")
    counts = ("page_views", "product_views", "clicks", "carts", "purchases", "searches", "unique_users")
    heads = ("pages", "products", "clicks", "carts", "orders", "searches", "users", "revenue", "bought")
    table = _table("The shop by clock hour (UTC)", "hour", right=heads)
    for row in rows:
        rate = row["conversion_rate"]
        cells = [_count(row[name]) for name in counts]
        revenue = f"{row['revenue'] or 0:,.0f}"
        table.add_row(_hour(row["hour_start"]), *cells, revenue, "–" if rate is None else f"{rate:.1%}")
    return table


def flags(rows: Rows, counts: Rows = ()) -> RenderableType:
    """The newest fraud flags, each with its reason below; `counts` (rule_id, flags) becomes a line at the end."""
    if not rows:
        return _nothing("Fraud flags", "no flag was raised")
    lines: list[RenderableType] = [Text("Newest fraud flags (UTC)", style="bold")]
    for row in rows:
        severity = (f"{row['severity']} {row['score']:.2f}", SEVERITY_STYLES.get(row["severity"], ""))
        who = f"{row['entity_type']} {_short(row['entity'], 22)}"
        lines.append(
            Text.assemble(f"{row['event_time']:%m-%d %H:%M} ", (row["rule_id"], "bold"), " ", severity, f" {who}")
        )
        lines.append(Padding(Text(f"{visible(row['reason'])} ({_many(row['events'], 'event')})"), (0, 0, 0, 2)))
    total = " · ".join(f"{row['rule_id']} {_count(row['flags'])}" for row in counts)
    return Group(*lines, *([Text(f"All flags: {total}", style="dim")] if total else []))


def quarantine(rows: Rows) -> RenderableType:
    """Refused records by reason, and what it means."""
    if not rows:
        return _nothing("Quarantine", "every record was accepted")
    table = _table("Quarantine: refused records by reason", "reason", right=("records",))
    table.add_column("what it means", ratio=1)
    for row in rows:
        meaning, _ = meaning_and_remedy(row["reason_code"])
        table.add_row(Text(row["reason_code"]), _count(row["records"]), meaning)
    return table


def trust(facts: Trust) -> RenderableType:
    """The desk for refused records, the ledger and the gate: a line or two each."""
    table = Table(title="Desk, ledger, gate", title_justify="left", title_style="bold", box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    lines = (("desk", facts.replay, _desk), ("ledger", facts.ledger, _ledger), ("gate", facts.gate, _gate))
    for name, run, say in lines:
        is_right = run["state"] == "succeeded"
        why = f"{run['job']} {run['state']}: {(run['error'] or {}).get('message', '')}"
        table.add_row(name, _sign(is_right), Text(visible(say(run["result"]) if is_right else why)))
    for held, why in facts.held_back.items():
        table.add_row("gate", _sign(False), Text(visible(f"{held} is held back by {why}.")))
    return table


def _desk(found: Row) -> str:
    return f"A replay with a fix looked at {_many(found['chosen'], 'refused record')}, {found['resolved']:,} came home."


def _ledger(found: Row) -> str:
    parts = " + ".join(f"{name} {found[name]:,}" for name in ("silver", "duplicates", "quarantined"))
    notes = "".join(f" {note}." for note in found["notes"])
    return (
        f"Kafka = bronze {found['bronze']:,} = {parts}; gold adds up in {_many(found['gold_hours'], 'hour')}, the "
        f"published file in {found['served_hours']:,}.{notes}"
    )


def _gate(found: Row) -> str:
    warnings = f" ({len(found['warnings'])} only warn: {', '.join(found['warnings'])})" if found["warnings"] else ""
    return f"{_many(found['expectations'], 'expectation')} judged, {found['failed']:,} failed{warnings}."


def _sign(is_right: bool) -> Text:
    return Text("✓", "green") if is_right else Text("✗", "bold red")


def retention(rows: Rows, periods: int = 9, period: str = "week") -> RenderableType:
    """The retention triangle: cohorts down, periods across; a `*` marks a period that is not over yet."""
    if not rows:
        return _nothing("Retention", "no cohort yet; `shoplake run cohort_retention` computes it")
    shown = range(min(periods, 1 + max(int(row["period_index"]) for row in rows)))
    heads = [f"{period[0]}{index}" for index in shown]
    table = _table(f"Retention by {period} (* not over yet)", "cohort", right=("users", *heads))
    for cohort, group in groupby(rows, key=lambda row: row["cohort_start"]):
        cells = list(group)
        by_index = {int(cell["period_index"]): cell for cell in cells}
        table.add_row(
            f"{cohort:%Y-%m-%d}", _count(cells[0]["cohort_size"]), *(_heat(by_index.get(index)) for index in shown)
        )
    return table


def freshness(p50: float | None, p99: float | None, samples: int, said: str = "") -> Text:
    """Seconds from produced until it is in gold and the book, against the target; `said` tells why it is missed."""
    text = Text("Freshness, produced → in gold and in the book: ", style="bold")
    if p50 is None or p99 is None or not samples:
        return text.append("not measured yet", style="dim")
    for name, seconds, most in (("p50", p50, TARGET[0]), ("p99", p99, TARGET[1])):
        sign, style = ("✓", "green") if seconds <= most else ("✗", "red")
        text.append(f"{name} {seconds:.1f} s {sign}  ", style=style)
    text.append(f"target {TARGET[0]:g} s / {TARGET[1]:g} s, {_many(samples, 'sample')}", style="dim")
    return text.append(f": {said}", style="yellow") if said else text


def thief(caught: Thief | None) -> Text:
    """The fraud that began live, and its flag, on one line."""
    if caught is None:
        return Text("Soon somebody will try stolen cards.", style="dim")
    name = f"The thief of {datetime.fromtimestamp(caught.began, UTC):%H:%M:%S}"
    if caught.seconds is None:
        return Text(f"{name} has tried {caught.tried} of {CARDS} stolen cards; no flag yet", style="yellow")
    return Text(f"✓ {name} was flagged {caught.seconds:.1f} s after the decisive card", style="green")


def next_steps(title: str, steps: Iterable[tuple[str, str]]) -> Table:
    """What to do next: pairs of a description and a command or address."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
    for what, where in steps:
        table.add_row(Text(what), Text(where, style="cyan", overflow="fold"))
    return table


def page(panels: Iterable[RenderableType]) -> Group:
    """The panels below one another, with a line between."""
    lines: list[RenderableType] = []
    for panel in panels:
        lines.extend([panel, Text("")])
    return Group(*lines[:-1])


@dataclass(frozen=True)
class Panel:
    """A part of the page: the statements that it asks, and what it makes of their rows. What the first one asks, a lake
    that works has rows of."""

    shows: str
    sql: tuple[str, ...]
    draw: Callable[..., RenderableType]

    def ask(self, reader: SqlReader) -> tuple[Rows, ...]:
        """The rows that it draws."""
        return tuple(reader.query(sql) for sql in self.sql)


PANELS = (
    Panel("ops.batches", (BOOK,), layers),
    Panel("gold.top_products_last_hour", (LAST_HOUR,), top_products),
    Panel("gold.fraud_flags", (FLAGS, FLAG_COUNTS), flags),
    Panel("gold.kpis_hourly", (HOURLY_FIGURES,), hourly_figures),
    Panel("silver.quarantine", (QUARANTINE,), quarantine),
    Panel("gold.top_products_hourly", (HOURLY_PRODUCTS,), hourly_products),
    Panel("gold.cohort_retention", (RETENTION,), retention),
)
"""What the demo shows, the most lively first."""
REPORT = (Panel("bronze.events", (LAYERS,), layers), *PANELS[1:])
"""The same of whole tables, for when nothing is being written."""


def _table(title: str, *heads: str, right: Sequence[str] = ()) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 0),
    )
    for head in heads:
        table.add_column(head, no_wrap=True, overflow="ellipsis")
    for head in right:
        table.add_column(head, justify="right", no_wrap=True, overflow="ellipsis")
    return table


def _identity(row: Row) -> Text:
    missing = balance(row)
    return Text(f"✗ {missing:+,}", style="bold red") if missing else _sign(True)


def _heat(cell: Row | None) -> Text:
    if cell is None or cell["retention_rate"] is None:
        return Text("·", style="dim")
    rate = float(cell["retention_rate"])
    style = HEAT[sum(rate >= limit for limit in HEAT_LIMITS)]
    return Text(f"{rate:.0%}{' ' if cell['is_complete'] else '*'}", style=style)


def _product(row: Row, width: int = 36) -> Text:
    return Text(_short(row["product_name"] or row["product_id"], width))


def _short(value: str, width: int) -> str:
    line = visible(value)
    return line if len(line) <= width else line[: width - 1] + "…"


def _nothing(title: str, why: str) -> Text:
    return Text.assemble((title, "bold"), f": {why}.")


def _count(value: Any) -> str:
    return "–" if value is None else f"{int(value):,}"


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _hour(moment: datetime) -> str:
    return f"{moment:%m-%d %H:00}"
