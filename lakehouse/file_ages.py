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
LOG_HOURS = 24.0
"""For how long a version can be opened: its log is not cleaned up before. No file is kept for longer than that by
default, and no reader needs it (the stream reads Kafka, not Delta)."""
