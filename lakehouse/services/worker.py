"""The worker service's process, with the alerts watched in it: `python -m lakehouse.services.worker`."""

from __future__ import annotations

import sys

from lakehouse.errors import exit_code
from lakehouse.monitoring.watch import Watch
from lakehouse.runs.service import WorkerService
from lakehouse.settings import load_settings


def main() -> int:
    """Run until told to stop."""
    return exit_code(WorkerService(load_settings(), Watch).run)


if __name__ == "__main__":
    sys.exit(main())
