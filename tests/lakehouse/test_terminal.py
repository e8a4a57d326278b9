"""What somebody sent never steers the terminal on which it is shown."""

import ast
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import typer

from lakehouse.cli import backup, platform, produce, runs
from lakehouse.cli.common import print_facts
from lakehouse.services.service import PROJECT_ROOT
from lakehouse.terminal import shown, visible

CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"
BAD = f"{CLIPBOARD}\x9b31m\x7f\u202e[bold]x"
SHOWN = r"\x1b]52;c;ZXZpbA==\x07\x9b31m\x7f\u202e[bold]x"
RUN: dict[str, Any] = {
    "id": "r1", "job": "quality", "state": "failed", "created_at": "2026-09-01T10:00:00Z", "started_at": None,
    "finished_at": None, "caller": BAD, "result": None, "error": {"message": BAD},
}  # fmt: skip


def report_copy(table: str) -> None:
    with backup._progress() as report:
        report(table, 1, 1)


def examine_this_machine() -> None:
    """Another program holds a port, under a name of its own choice."""
    with (
        TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.MonkeyPatch.context() as is_set,
    ):
        program = Path(folder) / BAD
        program.symlink_to(os.path.realpath(sys.executable))
        port, handed = server.getsockname()[1], server.fileno()
        waiting = [str(program), "-S", "-E", "-c", "import sys; sys.stdin.read()"]
        with subprocess.Popen(waiting, stdin=subprocess.PIPE, pass_fds=[handed]) as holder:
            server.close()
            is_set.setenv("SHOPLAKE_KAFKA_PORT", str(port))
            with contextlib.suppress(typer.Exit):
                platform.doctor()
            holder.terminate()


def leave_out() -> None:
    """A recorded file has events of another kind."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "events.jsonl"
        file.write_text(json.dumps({"messageId": "m1", "type": "track", "event": BAD}))
        produce.produce(replay=file, to=Path(folder) / "out.jsonl")


def test_control_characters_are_written_out() -> None:
    assert visible(BAD) == SHOWN
    assert visible("a\nb") == r"a\nb" and visible("a\nb", keep="\n") == "a\nb" and visible("größe 🎁") == "größe 🎁"
    assert shown(BAD) == SHOWN.replace("[bold]", r"\[bold]")


@pytest.mark.parametrize(
    "show",
    [
        lambda: print_facts(RUN.items()),
        lambda: runs.print_outcome(RUN),
        lambda: runs.print_runs([RUN]),
        lambda: runs.print_outcome({**RUN, "state": "succeeded", "result": {"what": BAD, "rows": [{"a": BAD}]}}),
        lambda: backup._say(BAD),
        lambda: report_copy(BAD),
        lambda: print_facts([("value", BAD), ("wrong", [BAD])]),
        examine_this_machine,
        leave_out,
    ],
)
def test_no_view_lets_them_pass(show: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show()
    said = "".join(capsys.readouterr())
    assert r"\x1b]52;c;" in said and not {"\x1b", "\x07", "\x9b", "\x7f", "\u202e"} & set(said)


def test_nothing_is_shown_by_another_way() -> None:
    """Rich's own `escape` leaves control characters as they are."""
    for file in (*(PROJECT_ROOT / "lakehouse").rglob("*.py"), *(PROJECT_ROOT / "deploy").rglob("*.py")):
        imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        assert file == Path(PROJECT_ROOT, "lakehouse/terminal.py") or "rich.markup" not in {
            one.module for one in imports
        }, file
