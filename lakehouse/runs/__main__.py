"""`python -m lakehouse.runs` is the worker service."""

from __future__ import annotations

import sys

from lakehouse.errors import ShoplakeError
from lakehouse.runs.members import Prepare
from lakehouse.settings import load_settings


def main(prepare: Prepare | None = None) -> int:
    """Run until told to stop. Each worker calls `prepare` first.

    The last line of the output is the reason of a failure.
    """
    from lakehouse.runs.supervisor import Supervisor  # not above: every worker imports this module too

    try:
        Supervisor(load_settings(), prepare).run()
    except ShoplakeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
