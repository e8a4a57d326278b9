"""`python -m lakehouse.runs` is the worker service; with --worker it is one of its processes."""

from __future__ import annotations

import argparse
import os
import sys

from lakehouse.errors import ShoplakeError
from lakehouse.settings import load_settings


def main(module: str = "lakehouse.runs") -> int:
    """Run until told to stop; workers are started as `python -m module`.

    The last line of the output is the reason of a failure.
    """
    parser = argparse.ArgumentParser(prog="python -m lakehouse.runs", description=__doc__)
    parser.add_argument("--worker", metavar="NAME", help="be one worker process of this name")
    parser.add_argument("--ready", type=int, metavar="FD", help="where to tell that the worker is warm")
    given = parser.parse_args()
    try:
        if given.worker is None:
            from lakehouse.runs.supervisor import Supervisor

            Supervisor(load_settings(), module).run()
        else:
            from lakehouse.runs.worker import Worker

            worker = Worker(load_settings(), given.worker)
            if given.ready is not None:
                os.write(given.ready, b"1")
                os.close(given.ready)
            worker.work()
    except ShoplakeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
