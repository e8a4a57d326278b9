"""`shoplake sql` on a terminal: type statements, see answers. A statement that fails ends nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from prompt_toolkit.output import Output
from pygments.lexers.sql import SqlLexer
from rich.console import Console
from rich.text import Text

from lakehouse import sql_guard, sql_output
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.sql import Result, tables, unknown_table
from lakehouse.sql_answers import Answers
from lakehouse.sql_completion import Names, SqlCompleter, is_in_text

ROWS = 1_000
"""More than a table printed at once has: here it is paged."""
PAGER = "less -RSFX"
GREETING = (
    "Read-only SQL over the lake. A statement ends with ; and Enter. Tab completes, help tells more, Ctrl-D leaves."
)
HELP = """\
\\d             list the tables, and what one row of each is
\\d TABLE       list the columns of a table, and what they mean
help, \\?       this
exit, \\q       leave (or Ctrl-D)

Enter runs what ends with ; or the line before an empty one. Ctrl-C drops what is typed, or stops a query.
Up and Down go through what was asked before; Ctrl-R searches it. Long answers are paged by $PAGER."""
LEAVING = ("exit", "quit", "\\q")
HELPING = ("help", "\\?")
Show = Callable[[Result], None]


class Shell:
    """One session on a terminal."""

    def __init__(
        self, answers: Answers, console: Console, show: Show, names: Names, session: PromptSession[str]
    ) -> None:
        """`show` prints an answer."""
        self._answers, self._console, self._show, self._names = answers, console, show, names
        self._session = session

    def run(self) -> None:
        """Ask and answer until Ctrl-D or `exit`."""
        self._console.print(Text(GREETING, style="dim"))
        while True:
            try:
                typed = self._session.prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if _command(typed) in LEAVING:
                return
            self._answer(typed)

    def _answer(self, typed: str) -> None:
        command, _, table = _command(typed).partition(" ")
        try:
            if _command(typed) in HELPING:
                self._console.print(Text(HELP))
            elif command == "\\d":
                self._show(self._described(table.strip()) if table else tables())
            else:
                for statement in sql_guard.statements(typed):
                    self._show(self._answers.stream(statement))
        except ShoplakeError as error:
            self._console.print(Text(str(error), style="bold red"), soft_wrap=True)
        except KeyboardInterrupt:
            self._console.print(Text("Stopped.", style="dim"))

    def _described(self, table: str) -> Result:
        columns = self._names.columns.get(table)
        if columns is None:
            raise UsageError(unknown_table(table))
        rows = ((one.name, one.type, one.meaning) for one in columns)
        return Result(("column", "type", "meaning"), ("VARCHAR",) * 3, rows)


def prompt_session(
    history: History, names: Names, input: Input | None = None, output: Output | None = None
) -> PromptSession[str]:
    """The prompt with completion, colours and history; `input` and `output` are the terminal unless given."""
    return PromptSession(
        "shoplake> ",
        multiline=True,
        prompt_continuation="      ... ",
        completer=SqlCompleter(names),
        complete_in_thread=True,
        lexer=PygmentsLexer(SqlLexer),
        history=history,
        auto_suggest=AutoSuggestFromHistory(),
        key_bindings=_keys(),
        input=input,
        output=output,
    )


def table_shower(console: Console, limit: int) -> Show:
    """Prints an answer as a table, through a pager when it is longer than the terminal."""

    def show(result: Result) -> None:
        with console.capture() as captured:
            sql_output.print_table(result, console, limit)
        text = captured.get()
        if text.count("\n") < console.height or not _page(text):
            console.file.write(text)

    return show


def run(answers: Answers, console: Console, show: Show) -> None:
    """A session on this terminal."""
    names = Names()
    # The first completion need not wait for the declarations.
    threading.Thread(target=lambda: names.columns, daemon=True).start()
    Shell(answers, console, show, names, prompt_session(kept_history(), names)).run()


def kept_history() -> History:
    """What was typed, in the user's state folder, readable only by the user; in memory where that cannot be."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(state) / "shoplake" / "sql_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


def is_complete(typed: str) -> bool:
    """Whether Enter runs it: it ends with ; outside of a text, is a command, or its last line is empty."""
    pieces = sql_guard.tokens(typed)
    is_ended = bool(pieces) and pieces[-1].value == ";" and not is_in_text(typed)
    return (
        is_ended or typed.endswith("\n") or not pieces or typed.startswith("\\") or _command(typed) in LEAVING + HELPING
    )


def _command(typed: str) -> str:
    return typed.strip().rstrip(";").strip().lower()


def _keys() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
        elif is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return bindings


def _page(text: str) -> bool:
    """Show it in the user's pager; False when there is none."""
    try:
        subprocess.run(shlex.split(os.environ.get("PAGER") or PAGER), input=text.encode(), check=False)
    except (OSError, ValueError):
        return False
    except KeyboardInterrupt:
        pass
    return True
