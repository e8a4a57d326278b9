"""The process that keeps the serving file up to date: `python -m lakehouse.publishing`, supervised as `publisher`."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from lakehouse.errors import ShoplakeError
from lakehouse.reports import write_report
from lakehouse.settings import Settings, load_settings
from lakehouse.sql import SqlReader, connect

if TYPE_CHECKING:
    from lakehouse.delta_log import DeltaLog
    from lakehouse.serving import Publisher

log = logging.getLogger(__name__)

REST = 3
"""A publish that takes long is followed by a rest three times as long: the stream needs the cores more."""


def main() -> None:
    """Publish what changed, then wait for the shortest interval between publishes; until it is ended.

    Ending it at any moment is safe: a publish counts when its file takes the place of the last one.
    """
    from lakehouse.delta_log import DeltaLog
    from lakehouse.serving import Publisher

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.nice(5)
    settings = load_settings()
    with connect(settings) as reader:
        log_of_tables = DeltaLog(settings)
        publisher = Publisher(settings, reader, log_of_tables, lambda: gate(reader, log_of_tables))
        while True:
            begin = time.monotonic()
            message = _publish(publisher)
            _tell(settings, message, seconds=round(time.monotonic() - begin, 3))
            took = time.monotonic() - begin
            time.sleep(max(settings.publish_seconds - took, took * REST))


def gate(reader: SqlReader, log_of_tables: DeltaLog) -> dict[str, list[str]]:
    """The tables whose newest state must not be published, with the expectations that say so."""
    from quality import results
    from quality.gate import blocked

    is_judged = all(log_of_tables.version(table) is not None for table in (results.TABLE, results.OVERRIDES))
    return blocked(reader) if is_judged else {}


def _publish(publisher: Publisher) -> str:
    """Publish once; what went wrong, in one sentence, or nothing. It is tried again after the interval."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if changed := publisher.publish():
            log.info("published %s", ", ".join(changed))
    except (ShoplakeError, BotoCoreError, ClientError, OSError) as error:
        log.warning("%s", error)
        return str(error)
    return ""


def _tell(settings: Settings, message: str, seconds: float) -> None:
    """Write down that the process lives, and how its last look went."""
    write_report(settings.run_dir / "publisher.json", seconds=seconds, message=message)


if __name__ == "__main__":
    main()
