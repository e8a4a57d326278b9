"""The truth about fraud episodes, for evaluation only: it goes to a file that no part of the pipeline reads."""

from __future__ import annotations

import json
from pathlib import Path

from producer.simulator.calendar import rfc3339
from producer.simulator.episodes import Episode


class Truth:
    """Writes a line per episode once it is over, with the events that really went out."""

    def __init__(self, path: Path | None) -> None:
        """With no path nothing is written."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8") if path is not None else None
        self._number = 0
        self._of_event: dict[str, _Open] = {}

    def expect(self, episode: Episode, event_ids: list[str]) -> None:
        """An episode begins; `event_ids` are the events it will send."""
        if self._file is not None:
            self._number += 1
            self._of_event |= dict.fromkeys(event_ids, _Open(self._number, episode, event_ids))

    def emitted(self, event_id: str | None) -> None:
        """An event went out."""
        if event_id is None or (begun := self._of_event.pop(event_id, None)) is None:
            return
        begun.sent.add(event_id)
        if len(begun.sent) == len(begun.planned):
            self._write(begun)

    def close(self) -> None:
        """Write the episodes that were cut short."""
        for episode in dict.fromkeys(self._of_event.values()):
            if episode.sent:
                self._write(episode)
        self._of_event.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, begun: _Open) -> None:
        if self._file is None:
            return
        episode = begun.episode
        times = [
            step.at_ms for step, event_id in zip(episode.steps, begun.planned, strict=True) if event_id in begun.sent
        ]
        line = {
            "episode_id": f"ep{begun.number:05d}",
            "scenario": episode.scenario,
            "innocent": episode.innocent,
            "start": rfc3339(min(times)),
            "end": rfc3339(max(times)),
            "complete": len(begun.sent) == len(begun.planned),
            **episode.entities(),
            "event_ids": [event_id for event_id in begun.planned if event_id in begun.sent],
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class _Open:
    def __init__(self, number: int, episode: Episode, planned: list[str]) -> None:
        self.number, self.episode, self.planned = number, episode, planned
        self.sent: set[str] = set()
