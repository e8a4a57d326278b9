"""How long files that no newest version of a table needs are kept: while anybody may still write or read them.

A file counts as unneeded from its first byte until the commit that names it, and again from the commit that replaces
it. So a vacuum must leave what is younger than the longest write, and than the longest read of an old version.
"""

from __future__ import annotations

LONGEST_RUN_SECONDS = 3600
"""No attempt of a job may take longer, reading and writing; `lakehouse.jobs` refuses a job that may."""
READER_SECONDS = 900
"""Others than jobs hold a version while they answer one query: seconds, minutes at most."""
KEEP_HOURS = (LONGEST_RUN_SECONDS + READER_SECONDS) / 3600
"""A table that keeps its files for less is refused when it is declared."""
LOG_HOURS = KEEP_HOURS
"""For how long a version can be opened: its log is not cleaned up before. No longer than somebody may need, because
Delta lists the whole log with every look and every commit: a day of micro-batches is tens of thousands of objects,
in requests of a thousand."""
