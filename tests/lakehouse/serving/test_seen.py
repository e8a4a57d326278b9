"""`run --wait` ends when readers see what the run wrote, or says until when they do not."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from lakehouse.reports import write_report
from lakehouse.serving.publishing import wait_until_seen
from lakehouse.settings import Settings
from tests.support import sample_serving
from tests.support.platform import free_settings

RETENTION = "gold.cohort_retention"


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = free_settings(tmp_path_factory.mktemp("seen"))
    sample_serving.publish(made.serving_file)
    yield made


def publishes(settings: Settings, message: str = "", ago: float = 0.0) -> None:
    """What the publisher says now, whose last look at all tables began so many seconds ago."""
    looked_at = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
    write_report(settings.run_dir / "publisher.json", message=message, looked_at=looked_at)


def test_what_was_published_since_is_seen(settings: Settings) -> None:
    ended = datetime.now(UTC)
    publishes(settings)
    assert wait_until_seen(settings, [RETENTION], ended) == ""


def test_a_look_that_began_before_the_end_or_was_at_gold_alone_is_waited_out(settings: Settings) -> None:
    ended = datetime.now(UTC)
    publishes(settings, ago=5)
    later = threading.Timer(1.0, lambda: publishes(settings))
    later.start()
    begin = time.monotonic()
    assert wait_until_seen(settings, [RETENTION], ended) == ""
    assert time.monotonic() - begin >= 0.9
    later.join()


def test_without_a_publisher_nobody_waits(settings: Settings) -> None:
    said = "Readers do not see it until the publisher runs again: `shoplake status` shows its state."
    assert wait_until_seen(settings, [RETENTION], datetime.now(UTC)) == said
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    (settings.run_dir).mkdir(parents=True, exist_ok=True)
    (settings.run_dir / "publisher.json").write_text(json.dumps({"looked_at": old, "message": "", "updated_at": old}))
    assert wait_until_seen(settings, [RETENTION], datetime.now(UTC)) == said


def test_a_publish_that_fails_says_why(settings: Settings) -> None:
    ended = datetime.now(UTC)
    publishes(settings, "S3 does not answer.")
    assert wait_until_seen(settings, [RETENTION], ended) == "Readers do not see it yet: S3 does not answer."


def test_what_is_held_back_is_told_with_what_holds_it(settings: Settings) -> None:
    with duckdb.connect(str(settings.serving_file)) as file:
        file.execute(f"UPDATE _published SET blocked_by = 'a; b' WHERE table_name = '{RETENTION}'")
        file.execute("UPDATE _published SET held_rows = 2, held_by = 'c' WHERE table_name <> ?", [RETENTION])
    ended = datetime.now(UTC)
    publishes(settings)
    assert wait_until_seen(settings, [RETENTION], ended) == (
        f"Readers see the last good rows of {RETENTION} until these pass a and b."
    )
    assert wait_until_seen(settings, ["gold.kpis_hourly"], ended) == (
        "Readers see all but 2 rows of gold.kpis_hourly until these pass c."
    )
