"""The supervisor in the background, as `shoplake up --detach` starts it: `python -m lakehouse.services`."""

from __future__ import annotations

import sys

from lakehouse.errors import ShoplakeError
from lakehouse.services.supervisor import Supervisor
from lakehouse.settings import load_settings


def main() -> int:
    """Supervise until told to stop. The last line of the output is the reason of a failure."""
    try:
        Supervisor(
            load_settings(),
            lambda _snapshot: None,
            with_stream="--no-stream" not in sys.argv,
            with_superset="--superset" in sys.argv,
        ).run()
    except ShoplakeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
