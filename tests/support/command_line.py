"""`shoplake` in a process of its own, forked from one that has its modules: a new Python would take longer to load them
than most commands take to answer."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from lakehouse.cli import main

SECONDS = 120
DEVNULL = Path(os.devnull)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        __name__, "api.keys", "api.server", "lakehouse.api_client", "lakehouse.jobs", "lakehouse.serving.publishing",
        "lakehouse.serving.reader", "lakehouse.serving.trace", "quality.gate",
    ]
)  # fmt: skip


def shoplake(*arguments: str, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The end of a command that was typed in `folder`, with what it said. It sees this environment alone."""
    with tempfile.TemporaryDirectory() as name:
        said = [Path(name, stream) for stream in ("stdout", "stderr")]
        process = begun(*arguments, environment=environment, folder=folder, said=said)
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, SECONDS)
        return subprocess.CompletedProcess(arguments, process.exitcode, *(file.read_text("utf-8") for file in said))


def begun(
    *arguments: str, environment: Mapping[str, str], folder: Path, said: Sequence[Path] = (DEVNULL, DEVNULL)
) -> ForkServerProcess:
    """A command that goes on; what it says on its two streams goes to files."""
    process = FORKS.Process(target=_run, args=(arguments, dict(environment), folder, said))
    process.start()
    return process


def _run(arguments: tuple[str, ...], environment: dict[str, str], folder: Path, said: Sequence[Path]) -> None:
    for stream, file in enumerate(said, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["shoplake", *arguments]
    main()
