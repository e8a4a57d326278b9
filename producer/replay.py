"""Recorded data as records: JSON lines of the contract, and the public REES46 and RetailRocket CSV layouts."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from lakehouse.errors import UsageError
from producer.contract import TOPIC_OF_TYPE
from producer.record import Record, from_line

Row = dict[str, str]
Event = dict[str, Any]

REES46_HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
RETAILROCKET_HEADER = "timestamp,visitorid,event,itemid,transactionid"


def replay(path: Path, *, shift_to: datetime | None = None, rate: float | None = None) -> Generator[Record, None, None]:
    """The records of a recorded file, in its order; the layout is recognised by the first line.

    `shift_to` moves every timestamp by the same span, so that the last event happens then. `rate` spaces the
    records' `due` for `publish(..., live_from=0.0)`.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path} to replay.")
    shift = shift_to - _last_moment(path) if shift_to else None
    for number, record in enumerate(_records(path, shift)):
        yield record._replace(due=number / rate) if rate else record


def _records(path: Path, shift: timedelta | None) -> Iterator[Record]:
    mapping = _mapping(path)
    if mapping is None:
        yield from _json_lines(path, shift)
        return
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                event = mapping(row)
            except (KeyError, TypeError, ValueError) as error:
                raise UsageError(
                    f"Line {number} of {path.name} is not in the layout of its header ({error})."
                ) from None
            yield _record(event, shift)


def _mapping(path: Path) -> Callable[[Row], Event] | None:
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8-sig", errors="replace").strip()
    if first == REES46_HEADER:
        return from_rees46
    if first == RETAILROCKET_HEADER:
        return from_retailrocket
    if first.startswith("{") or not first:
        return None
    raise UsageError(
        f"{path.name} is neither JSON lines nor a REES46 or RetailRocket CSV; its first line is not known."
    )


def _json_lines(path: Path, shift: timedelta | None) -> Iterator[Record]:
    with path.open("rb") as lines:
        for line in lines:
            text = line.rstrip(b"\r\n")
            if not text:
                continue
            record = from_line(text)
            moment = _moment(record) if shift else None
            if shift and moment:
                event = orjson.loads(text)
                event["timestamp"] = _rfc3339(moment + shift)
                record = record._replace(value=orjson.dumps(event))
            yield record


def _record(event: Event, shift: timedelta | None) -> Record:
    if shift:
        event["timestamp"] = _rfc3339(datetime.fromisoformat(event["timestamp"]) + shift)
    topic = TOPIC_OF_TYPE[event["event_type"]]
    return Record(topic, event["user_id"].encode("utf-8"), orjson.dumps(event), 0.0, event["event_id"])


def _last_moment(path: Path) -> datetime:
    last = max((moment for record in _records(path, None) if (moment := _moment(record))), default=None)
    if last is None:
        raise UsageError(f"{path.name} holds no event with a time, so it cannot be shifted.")
    return last


def _moment(record: Record) -> datetime | None:
    try:
        moment = datetime.fromisoformat(orjson.loads(record.value or b"null")["timestamp"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


def from_rees46(row: Row) -> Event:
    """A row of a REES46 file. What the contract has no field for (brand, category_id) rides along as extra fields."""
    product = row["product_id"]
    price = float(row["price"]) if row["price"] else None
    described = {
        "category": row["category_code"],
        "price": price,
        "brand": row["brand"],
        "category_id": row["category_id"],
    }
    known = {"product_id": product} | {name: value for name, value in described.items() if value not in ("", None)}
    line = {"product_id": product, "quantity": 1, "price": price}
    order = {"order_id": "o" + _digest(row["user_session"]), "total_amount": price or 0.0, "products": [line]}
    kinds: dict[str, tuple[str, Event]] = {
        "view": ("product_view", known),
        "cart": ("add_to_cart", known | {"quantity": 1}),
        "remove_from_cart": ("click", known | {"element": "remove_from_cart"}),
        "purchase": ("purchase", order),
    }
    event_type, data = kinds[row["event_type"]]
    moment = datetime.strptime(row["event_time"].removesuffix(" UTC"), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    context = {"session_id": row["user_session"]} if row["user_session"] else None
    return _event(row, event_type, row["user_id"], moment, data, context)


def from_retailrocket(row: Row) -> Event:
    """A row of a RetailRocket file; it has no prices, so its orders amount to 0."""
    product = row["itemid"]
    order = {
        "order_id": row["transactionid"],
        "total_amount": 0.0,
        "products": [{"product_id": product, "quantity": 1}],
    }
    kinds: dict[str, tuple[str, Event]] = {
        "view": ("product_view", {"product_id": product}),
        "addtocart": ("add_to_cart", {"product_id": product, "quantity": 1}),
        "transaction": ("purchase", order),
    }
    event_type, data = kinds[row["event"]]
    moment = datetime.fromtimestamp(int(row["timestamp"]) / 1000, UTC)
    return _event(row, event_type, row["visitorid"], moment, data, None)


def _event(row: Row, event_type: str, user: str, moment: datetime, data: Event, context: Event | None) -> Event:
    text = io.StringIO()
    csv.writer(text).writerow(row.values())
    event: Event = {"event_id": "r" + _digest(text.getvalue()), "event_type": event_type, "user_id": f"u{user}"}
    event["timestamp"] = _rfc3339(moment)
    if context:
        event["context"] = context
    return event | {"data": data}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
