"""`python -m lakehouse.runs` is the worker service."""

from __future__ import annotations

import sys
from collections.abc import Callable

from lakehouse.errors import ShoplakeError
from lakehouse.settings import load_settings


def main(prepare: Callable[[], None] | None = None) -> int:
    """Run until told to stop. Each worker calls `prepare`, a module's function, before anything else.

    The last line of the output is the reason of a failure.
    """
    try:
        from lakehouse.runs.supervisor import Supervisor

        Supervisor(load_settings(), prepare).run()
    except ShoplakeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
