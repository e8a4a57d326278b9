"""The supervisor in the background, as `shoplake up --detach` starts it: `python -m lakehouse.services`."""

from __future__ import annotations

import sys

from lakehouse.errors import exit_code
from lakehouse.services.supervisor import Supervisor
from lakehouse.settings import load_settings


def main() -> int:
    """Supervise until told to stop."""
    return exit_code(
        lambda: Supervisor(
            load_settings(),
            lambda _snapshot: None,
            with_stream="--no-stream" not in sys.argv,
            with_superset="--superset" in sys.argv,
        ).run()
    )


if __name__ == "__main__":
    sys.exit(main())
