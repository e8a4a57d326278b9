"""Errors that a person can act on. Each carries one plain sentence and the exit code of the command line."""

import sys
from collections.abc import Callable


class ShoplakeError(Exception):
    """Something failed while working; the message says what, and what to do. Exit code 1."""

    exit_code = 1


class UsageError(ShoplakeError):
    """The start cannot work (setting, port, Java, memory, a taken lock, wrong argument). Exit code 2."""

    exit_code = 2


def exit_code(work: Callable[[], object]) -> int:
    """Do the work of a process, and say how it ended. The last line of the output is the reason of a failure."""
    try:
        work()
    except ShoplakeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
