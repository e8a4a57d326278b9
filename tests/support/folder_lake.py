"""A lake of three tables in a folder, which an S3 server hands out."""

from pathlib import Path

from silver.events import TABLE as EVENTS
from tests.support.folder_s3 import FolderTable


def fill(bucket: Path) -> dict[str, FolderTable]:
    """A partitioned silver.events of three days, an empty table, and one to grow."""
    lines = {
        "type": "array",
        "containsNull": True,
        "elementType": {
            "type": "struct",
            "fields": [
                {"name": name, "type": kind, "nullable": True, "metadata": {}}
                for name, kind in {"product_id": "string", "quantity": "integer", "price": "double"}.items()
            ],
        },
    }
    names = dict.fromkeys(EVENTS.columns, "string")
    events = FolderTable(
        bucket / "silver" / "events",
        names | {"event_time": "timestamp", "products": lines, "amount": "double", "event_date": "date"},
        ("event_date",),
    )
    events.create()
    stated = {"event_id", "event_type", "event_time", "products", "amount", "event_date"}
    rest = ", ".join(f'NULL::VARCHAR AS "{name}"' for name in EVENTS.columns if name not in stated)
    for day in (1, 2, 3):
        events.commit(
            f"""SELECT 'e{day}-' || range AS event_id, if(range % 2 = 0, 'purchase', 'search') AS event_type,
                '2026-09-0{day} 10:00:00+00'::TIMESTAMPTZ AS event_time, 1.5::DOUBLE AS amount,
                [{{'product_id': 'p1', 'quantity': 2::INT, 'price': 0.5::DOUBLE}}] AS products, {rest}
                FROM range({day * 10})""",
            {"event_date": f"2026-09-0{day}"},
        )
    empty = FolderTable(bucket / "gold" / "fraud_flags", {"flag_id": "string", "event_time": "timestamp"})
    empty.create()
    growing = FolderTable(bucket / "gold" / "kpis_hourly", {"clicks": "long", "value": "binary"})
    growing.create()
    growing.commit("SELECT 1::BIGINT AS clicks, '\\x00\\xFF'::BLOB AS value")
    return {"events": events, "empty": empty, "growing": growing}
