"""The process that keeps the serving file up to date, supervised as `publisher`, and whether readers see what a run
wrote: it follows the lake some seconds behind."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakehouse.errors import ShoplakeError
from lakehouse.reports import age, read_report, write_report
from lakehouse.serving.file import names_in, published
from lakehouse.settings import Settings, load_settings
from lakehouse.sql import connect
from lakehouse.sql_guard import one_sentence

if TYPE_CHECKING:
    from lakehouse.serving.publisher import Publisher

log = logging.getLogger(__name__)

REST = 2
"""A publish that takes long is followed by a rest twice as long: the stream needs the cores more."""
NAP_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
"""How long it is waited for the publisher, and how old its report may be."""
LOOK_SECONDS = 5.0
"""How often all tables are looked at. In between gold is, when the stream says that it has written."""


def main() -> None:
    """Publish what changed, then wait for the shortest interval between publishes; until it is ended.

    Ending it at any moment is safe: a publish counts when its file takes the place of the last one.
    """
    from lakehouse.delta_log import DeltaLog
    from lakehouse.serving.derived import Extras
    from lakehouse.serving.publisher import Publisher

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.nice(5)
    settings = load_settings()
    with connect(settings, settings.sql_memory_mb) as reader:
        publisher = Publisher(settings, reader, DeltaLog(settings), extras=Extras(settings, reader))
        looked, looked_at, written_at = -LOOK_SECONDS, "", 0.0
        while True:
            begin = time.monotonic()
            is_look = begin - looked >= LOOK_SECONDS
            if not is_look and gold_written_at(settings) == written_at:
                time.sleep(NAP_SECONDS)
                continue
            written_at = gold_written_at(settings)
            if is_look:
                looked, looked_at = begin, datetime.now(UTC).isoformat()
            message = _publish(publisher, only_gold=not is_look)
            seconds, audit = round(time.monotonic() - begin, 3), round(publisher.audit_seconds, 3)
            report = settings.run_dir / "publisher.json"
            write_report(report, seconds=seconds, audit_seconds=audit, message=message, looked_at=looked_at)
            took = time.monotonic() - begin
            time.sleep(max(settings.publish_seconds - took, took * REST))


def gold_written_at(settings: Settings) -> float:
    """When the stream last wrote gold, as the report of a stream on this machine says; 0 where there is none."""
    try:
        return settings.gold_report.stat().st_mtime
    except OSError:
        return 0.0


def _publish(publisher: Publisher, *, only_gold: bool = False) -> str:
    """Publish once; what went wrong, in one sentence, or nothing. It is tried again after the interval."""
    import duckdb
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if changed := publisher.publish(only_gold=only_gold):
            log.info("published %s (audit %.0f ms)", ", ".join(changed), publisher.audit_seconds * 1000)
    except duckdb.Error as error:
        log.warning("%s", error)
        return f"Nothing is published, the last publish stays. {one_sentence(error)}"
    except (ShoplakeError, BotoCoreError, ClientError, OSError) as error:
        log.warning("%s", error)
        return str(error)
    return ""


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
        time.sleep(NAP_SECONDS)
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


if __name__ == "__main__":
    main()
