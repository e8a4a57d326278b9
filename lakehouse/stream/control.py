"""Whether the stream shall run: a word in a file, written by the `stream` job and read by the stream's process."""

from __future__ import annotations

from pathlib import Path

from lakehouse.reports import replace_text
from lakehouse.settings import Settings


def is_wanted(settings: Settings) -> bool:
    """Whether the query shall run; it shall unless somebody has said otherwise."""
    try:
        return _file(settings).read_text().strip() != "stopped"
    except OSError:
        return True


def want(settings: Settings, state: str) -> None:
    """Say that the query shall be `running` or `stopped`; holds until somebody says otherwise, also over restarts."""
    replace_text(_file(settings), state)


def _file(settings: Settings) -> Path:
    return settings.run_dir / "stream.desired"
