"""Takes a word out of the texts that the registry keeps of runs: parameters, results, errors, progress, logs."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

from lakehouse.settings import Settings

_BUSY_SECONDS = 30
_TEXTS = (
    "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
    " WHERE m.type = 'table' AND m.name LIKE 'run%' AND c.type IN ('JSON', 'TEXT')"
)


def replace(settings: Settings, pattern: str, by: str) -> int:
    """Write `by` wherever a text has the pattern; how many texts are others now. What stood there is overwritten in the
    file, too."""
    if not settings.registry_file.exists():
        return 0
    wanted, changed = re.compile(pattern), 0
    opened = sqlite3.connect(settings.registry_file, timeout=_BUSY_SECONDS, isolation_level=None)
    with closing(opened) as connection:
        connection.create_function("reworded", 1, lambda text: text and wanted.sub(by, text), deterministic=True)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        for table, column in connection.execute(_TEXTS).fetchall():
            update = (
                f'UPDATE "{table}" SET "{column}" = reworded("{column}") WHERE "{column}" IS NOT reworded("{column}")'  # noqa: S608 - the names are those of the file
            )
            changed += connection.execute(update).rowcount
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return changed
