"""What a process says about itself: a small JSON file in the run folder, replaced whole, read by everybody else."""

import json
import math
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_writing = threading.Lock()
"""Threads of one process may have news of the same file at once: each writes it whole."""


def replace_text(path: Path, text: str, mode: int | None = None) -> None:
    """Write a file, with its folder, so that a reader sees the old text or the new one; `mode` from the first byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")  # several processes may do so at once
    with _writing:
        aside.unlink(missing_ok=True)
        if mode is not None:
            aside.touch(mode=mode, exist_ok=False)
        aside.write_text(text)
        aside.replace(path)


def write_report(path: Path, **facts: Any) -> None:
    """Write `facts` with this process's `pid` and, in UTC, `updated_at`."""
    report = {**facts, "pid": os.getpid(), "updated_at": datetime.now(UTC).isoformat()}
    replace_text(path, json.dumps(report))


def read_report(path: Path) -> dict[str, Any]:
    """What was written last; empty before anything was."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def age(report: dict[str, Any]) -> float:
    """Seconds since a report was written; infinite when it does not say."""
    try:
        return time.time() - datetime.fromisoformat(report["updated_at"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return math.inf
