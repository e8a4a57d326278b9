"""Whether readers see what a run wrote: the publisher follows the lake some seconds behind."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime

from lakehouse.reports import age, read_report
from lakehouse.serving.file import names_in, published
from lakehouse.settings import Settings

PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.2


def wait_until_seen(settings: Settings, tables: Collection[str], since: datetime) -> str:
    """Wait until the publisher has looked at all tables after `since`. What readers do not see of `tables`, and until
    when, in a sentence; empty when they see all."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        report = read_report(settings.run_dir / "publisher.json")
        if age(report) > PATIENCE_SECONDS or time.monotonic() > end:
            return "Readers do not see it until the publisher runs again: `shoplake status` shows its state."
        if datetime.fromisoformat(report["looked_at"]) > since:
            break
        time.sleep(_LOOK_SECONDS)
    if report["message"]:
        return f"Readers do not see it yet: {report['message']}"
    return " ".join(_held_back(settings, tables))


def _held_back(settings: Settings, tables: Collection[str]) -> list[str]:
    said = []
    for row in published(settings):
        if row["table_name"] in tables and (names := names_in(row["blocked_by"] or row["held_by"])):
            what = "the last good rows" if row["blocked_by"] else f"all but {row['held_rows']:,} rows"
            said.append(f"Readers see {what} of {row['table_name']} until these pass {' and '.join(names)}.")
    return said
