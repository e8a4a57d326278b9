"""What a run has to tell while it goes on: its progress and its log, collected here until the next heartbeat."""

import threading
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

from lakehouse.runs.claims import Line
from lakehouse.secret_words import json_lines

_MOST_LINES = 10_000
_LONGEST_FIELD = 8_000


class News:
    """Progress and log lines of one attempt; written by the job's thread and Spark's, read by the heartbeat's."""

    def __init__(self, steps: int) -> None:
        """`steps` is how many steps the job says."""
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._progress: dict[str, Any] = {"step": 0, "steps": steps, "doing": "Starting"}
        self._told: dict[str, Any] | None = None
        self._stages: dict[int, Any] = {}
        self._bytes_read = 0

    def step(self, doing: str) -> bool:
        """The job begins its next step; saying the same again is none. Returns whether it is a new one."""
        with self._lock:
            if doing == self._progress["doing"]:
                return False
            step = self._progress["step"] + 1
            self._bytes_read = self._bytes_so_far()
            self._stages = {}
            self._progress = {"step": step, "steps": max(step, self._progress["steps"]), "doing": doing}
            return True

    def spark_progress(
        self, stages: Iterable[Any] | None, inflight_tasks: int, operation_id: str | None, done: bool
    ) -> None:
        """Spark tells how far its stages are; called from within whatever waits for Spark."""
        with self._lock:
            self._stages |= {stage.stage_id: stage for stage in stages or ()}
            known = self._stages.values()
            self._progress |= {
                "tasks_done": sum(stage.num_completed_tasks for stage in known),
                "tasks": sum(stage.num_tasks for stage in known),
                "tasks_running": inflight_tasks,
                "stages_done": sum(bool(stage.done) for stage in known),
                "stages": len(self._stages),
                "bytes_read": self._bytes_so_far(),
            }

    def bytes_read_so_far(self) -> int:
        """Bytes that Spark has read for the run, in all its steps."""
        with self._lock:
            return self._bytes_so_far()

    def _bytes_so_far(self) -> int:
        return self._bytes_read + sum(int(stage.num_bytes_read) for stage in self._stages.values())

    def log(self, line: Line) -> None:
        """Add a line; a job that says more than anybody reads loses the oldest."""
        with self._lock:
            self._lines = [*self._lines[-_MOST_LINES:], line]

    def take(self) -> tuple[dict[str, Any] | None, list[Line]]:
        """What is new since the last time: progress (None when it has not changed) and lines."""
        with self._lock:
            progress = None if self._progress == self._told else self._progress.copy()
            self._told, lines, self._lines = self._progress.copy(), self._lines, []
            return progress, lines

    def put_back(self, lines: Iterable[Line]) -> None:
        """These lines could not be told yet."""
        with self._lock:
            self._lines = [*lines, *self._lines]
            self._told = None


def log_as_json() -> None:
    """structlog for this process: JSON on standard output, and into the `news` that an attempt has bound."""
    structlog.configure(processors=json_lines(_into_the_run), cache_logger_on_first_use=False)


def _into_the_run(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (news := event.pop("news", None)) is not None:
        apart = ("event", "level", "timestamp", "run")
        fields = {name: str(value)[:_LONGEST_FIELD] for name, value in event.items() if name not in apart}
        news.log(Line(str(event["event"]), str(event["level"]), fields or None))
    return event
