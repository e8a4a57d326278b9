"""Reads the published file as a viewer's dashboards do, until told to stop: `python -m tests.support.dashboard_reader`.

Given are the file and a file that says stop. A round asks every chart's question, each over a connection of its own,
and looks whether a publish is whole. In the end one line of JSON says what happened.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.dashboards import chart_queries
from lakehouse.serving.file import PUBLISHED, open_serving

PAUSE_SECONDS = 5.0
"""Dashboards refresh every ten."""
BATCHES = "ops.recent_batches"


def is_whole(path: Path, seen: dict[str, datetime]) -> tuple[bool, float]:
    """Whether one connection sees in every table as many rows as `_published` says, and nothing older than `seen`;
    and how many seconds ago the newest batch that it sees was committed."""
    with open_serving(path) as connection:
        told = connection.execute(f"SELECT table_name, rows, published_at FROM {PUBLISHED}").fetchall()
        rows = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name, _, _ in told}
        newest = connection.execute(f"SELECT max(committed_at) FROM {BATCHES}").fetchall()[0][0]
    has_all = all(rows[name] == count for name, count, _ in told)
    goes_on = all(at >= seen.get(name, at) for name, _, at in told)
    seen.update({name: at for name, _, at in told})
    return has_all and goes_on, (datetime.now(UTC) - newest.replace(tzinfo=UTC)).total_seconds()


def main(path: Path, stop: Path) -> None:
    """Read until `stop` is there, and once at least."""
    queries = chart_queries()
    seen: dict[str, datetime] = {}
    asked, broken, milliseconds, staleness, errors = 0, 0, [], [], []
    while not asked or not stop.exists():
        for name, query in queries.items():
            began = time.perf_counter()
            try:
                with open_serving(path) as connection:
                    connection.execute(query).fetchall()
            except Exception as error:  # every one is a finding
                errors.append(f"{name}: {error}")
            milliseconds.append((time.perf_counter() - began) * 1000)
            asked += 1
        whole, seconds = is_whole(path, seen)
        broken += not whole
        staleness.append(seconds)
        time.sleep(PAUSE_SECONDS)
    found = {"asked": asked, "broken": broken, "errors": errors[:3], "ms": milliseconds, "staleness": staleness}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
