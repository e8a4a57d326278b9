"""Pathway, the streaming engine of Python, as far as it goes without a licence key.

Its connector for Delta asks for one, which needs an account. So gold alone is made here: the engine reads, parses,
keeps each event once and counts, and what it hands out is written by delta-rs. There is no bronze and no silver.
"""

from typing import Any

import pathway as pw
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.peers.place import Place

COMMIT_MS = 500
KINDS = {
    "page_views": "page_view",
    "clicks": "click",
    "carts": "add_to_cart",
    "purchases": "purchase",
    "searches": "search",
}


class Event(pw.Schema):  # type: ignore[misc]  # Pathway is not where mypy looks
    """What gold needs of an event."""

    event_id: str
    event_type: str
    timestamp: str
    product_id: str | None = pw.column_definition(default_value=None)


def main() -> None:
    """Build the graph and run it."""
    place = Place.told()
    once = events(place)
    _keep(place, kpis(once), "gold/kpis_hourly")
    _keep(place, views(once), "gold/product_views_hourly")
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def events(place: Place) -> Any:
    """Each event once, with its hour."""
    kafka = {
        "bootstrap.servers": place.bootstrap,
        "auto.offset.reset": "earliest",
        # The benchmark halts a peer while it is another's turn: the broker must not take it for dead.
        "session.timeout.ms": "1800000",
        "max.poll.interval.ms": "1800000",
    }
    read = pw.Table.concat_reindex(*(_read(kafka, topic) for topic in place.topics))
    once = read.groupby(read.event_id).reduce(
        **{name: pw.reducers.earliest(read[name]) for name in ("event_type", "timestamp", "product_id")}
    )
    moment = once.timestamp.str.replace("Z", "+00:00").dt.strptime("%Y-%m-%dT%H:%M:%S.%f%z", contains_timezone=True)
    is_view = (once.event_type == "product_view") | (once.event_type == "page_view")
    return once.select(
        once.event_type,
        once.product_id,
        hour_start=moment.dt.floor("1h"),
        is_view=is_view & once.product_id.is_not_none(),
    )


def kpis(once: Any) -> Any:
    """Events of each kind in each hour."""
    flags = {name: once.event_type == kind for name, kind in KINDS.items()} | {"product_views": once.is_view}
    counts = {name: pw.reducers.sum(pw.if_else(flag, 1, 0)) for name, flag in flags.items()}
    return once.groupby(once.hour_start).reduce(once.hour_start, **counts)


def views(once: Any) -> Any:
    """Views of each product in each hour."""
    viewed = once.filter(once.is_view)
    return viewed.groupby(viewed.hour_start, viewed.product_id).reduce(
        viewed.hour_start, viewed.product_id, views=pw.reducers.count()
    )


def _read(kafka: dict[str, str], topic: str) -> Any:
    return pw.io.kafka.read(
        kafka | {"group.id": topic},
        topic,
        format="json",
        schema=Event,
        json_field_paths={"product_id": "/data/product_id"},
        autocommit_duration_ms=COMMIT_MS,
    )


def _keep(place: Place, rows: Any, name: str) -> None:
    """Have a table of Delta hold these rows, anew whenever the engine has finished a moment."""
    known: dict[Any, dict[str, Any]] = {}
    storage = place.storage

    def change(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            known[key] = row
        elif known.get(key) == row:
            del known[key]

    def write(time: int) -> None:
        table = pa.Table.from_pylist(list(known.values()))
        write_deltalake(place.table(name), table, mode="overwrite", storage_options=storage)

    pw.io.subscribe(rows, on_change=change, on_time_end=write)


if __name__ == "__main__":
    main()
