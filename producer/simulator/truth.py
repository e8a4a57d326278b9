"""The truth about fraud episodes, for evaluation only: it goes to a file that no part of the pipeline reads."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from producer.simulator.calendar import rfc3339
from producer.simulator.episodes import PlannedStep


@dataclass(eq=False)
class Episode:
    """A fraud episode, or an innocent one that looks like it: its events by id, and which of them went out."""

    number: int
    scenario: str
    innocent: bool
    steps: dict[str, PlannedStep]
    sent: set[str] = field(default_factory=set)


class Truth:
    """Writes a line per episode once it is over, with the events that really went out."""

    def __init__(self, path: Path | None) -> None:
        """With no path nothing is written."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8") if path is not None else None
        self._of_event: dict[str | None, Episode] = {}

    def expect(self, episode: Episode) -> None:
        """An episode begins."""
        if self._file is not None:
            self._of_event |= dict.fromkeys(episode.steps, episode)

    def emitted(self, event_id: str | None) -> None:
        """An event went out."""
        episode = self._of_event.pop(event_id, None)
        if event_id is not None and episode is not None:
            episode.sent.add(event_id)
            if len(episode.sent) == len(episode.steps):
                self._write(episode)

    def close(self) -> None:
        """Write the episodes that were cut short."""
        for episode in dict.fromkeys(self._of_event.values()):
            if episode.sent:
                self._write(episode)
        self._of_event.clear()
        if self._file is not None:
            self._file.close()

    def _write(self, episode: Episode) -> None:
        steps = episode.steps.values()
        times = [episode.steps[event_id].at_ms for event_id in episode.sent]
        line = {
            "episode_id": f"ep{episode.number:05d}",
            "scenario": episode.scenario,
            "innocent": episode.innocent,
            "start": rfc3339(min(times)),
            "end": rfc3339(max(times)),
            "complete": len(episode.sent) == len(steps),
            "users": sorted({step.visit.user_id for step in steps}),
            "devices": sorted({step.visit.device.device_id for step in steps}),
            "ips": sorted({step.visit.ip for step in steps}),
            "countries": sorted({step.visit.country for step in steps}),
            "cards": sorted({step.card for step in steps if step.card}),
            "event_ids": [event_id for event_id in episode.steps if event_id in episode.sent],
        }
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
