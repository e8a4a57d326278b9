"""Errors that a person can act on. Each carries one plain sentence and the exit code of the command line."""


class ShoplakeError(Exception):
    """Something failed while working; the message says what, and what to do. Exit code 1."""

    exit_code = 1


class UsageError(ShoplakeError):
    """The start cannot work (setting, port, Java, memory, a taken lock, wrong argument). Exit code 2."""

    exit_code = 2
