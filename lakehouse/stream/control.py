"""Whether the stream should run: a word in a file, written by the `stream` job and read by the stream's process."""

from pathlib import Path

from lakehouse.reports import replace_text
from lakehouse.settings import Settings


def is_wanted(settings: Settings) -> bool:
    """True if the query should run: unless somebody has stopped it."""
    try:
        return _file(settings).read_text().strip() != "stopped"
    except OSError:
        return True


def want(settings: Settings, state: str) -> None:
    """Set the wanted state, `running` or `stopped`; it holds until the next call, also across restarts."""
    replace_text(_file(settings), state)


def _file(settings: Settings) -> Path:
    return settings.run_dir / "stream.desired"
