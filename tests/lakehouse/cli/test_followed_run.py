"""A run that is followed: its bar, and its log to the last line."""

from typing import Any

import httpx
import pytest
from rich.progress import Progress

from lakehouse.api_client import ApiClient
from lakehouse.cli import runs
from lakehouse.settings import Settings


class Client:
    """Looks at a run whose second step turns out to have more tasks than it began with."""

    def looks_at(self, _run_id: str) -> Any:
        for step, done, tasks in ((1, 1, 2), (2, 9, 10), (2, 10, 10), (2, 11, 40), (2, 40, 40)):
            progress = {"step": step, "steps": 2, "tasks_done": done, "tasks": tasks}
            yield {"state": "running", "progress": progress}
        yield {"state": "succeeded", "progress": {"step": 2, "steps": 2, "tasks_done": 40, "tasks": 40}}


def test_the_bar_never_runs_backwards_and_is_not_full_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    update = Progress.update

    def note(self: Progress, task: Any, **what: Any) -> None:
        seen.append(what["completed"] / what["total"])
        update(self, task, **what)

    monkeypatch.setattr(Progress, "update", note)
    assert runs.follow(Client(), "1", quiet=True)["state"] == "succeeded"  # type: ignore[arg-type]  # it has what follow asks
    assert seen == sorted(seen) and seen[0] == 0.25 and seen[1] == 0.95
    assert max(seen) < 1


def test_the_log_is_followed_to_what_a_run_said_just_before_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line comes between a look at the log and one at the run."""
    said = ["begun"]

    def answer(_client: ApiClient, _method: str, path: str, **how: Any) -> httpx.Response:
        if path.endswith("/logs"):
            lines = said[how["params"]["after"] :]
            return httpx.Response(200, json={"items": lines, "next_after": len(said)})
        said.append("done")
        return httpx.Response(200, json={"state": "succeeded"})

    monkeypatch.setattr(ApiClient, "_send", answer)
    with ApiClient(Settings(api_key="k")) as client:
        assert list(client.log_lines("1", follow=True)) == ["begun", "done"]
