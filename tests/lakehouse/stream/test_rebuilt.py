"""The note by which a job tells the stream that rows in its memory were replaced."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse import hours as clock
from lakehouse import s3
from lakehouse.settings import Settings
from lakehouse.stream import rebuilt
from tests.support.moto_lake import moto_lake
from tests.support.platform import free_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with moto_lake(tmp_path, monkeypatch) as made:
        yield made


def test_each_note_about_hours_in_memory_is_another(settings: Settings) -> None:
    client, running = s3.s3_client(settings), clock.number_of(datetime.now(UTC))
    notes = [rebuilt.note(client, "lake")]
    for _ in range(2):
        rebuilt.tell(settings, {running - 100, running})
        notes.append(rebuilt.note(client, "lake"))
    assert notes[0] is None and len(set(notes)) == 3


def test_hours_that_nobody_has_in_memory_are_not_told(settings: Settings) -> None:
    long_ago = clock.number_of(datetime.now(UTC) - timedelta(days=2))
    rebuilt.tell(settings, {long_ago})
    rebuilt.tell(settings, set())
    assert rebuilt.note(s3.s3_client(settings), "lake") is None


def test_a_job_is_under_way_until_it_ends_or_is_taken_for_dead(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = s3.s3_client(settings)
    assert not rebuilt.is_under_way(client, "lake")
    with pytest.raises(ValueError, match="the job fails"), rebuilt.under_way(settings):
        assert rebuilt.is_under_way(client, "lake")
        with monkeypatch.context() as later:
            later.setattr(rebuilt, "LONGEST_HOURS", 0)
            assert not rebuilt.is_under_way(client, "lake")
        raise ValueError("the job fails")
    assert not rebuilt.is_under_way(client, "lake")


def test_while_s3_does_not_answer_nothing_has_changed(settings: Settings) -> None:
    away = s3.s3_client(free_settings(settings.data_dir, bucket="lake"))
    assert rebuilt.note(away, "lake", "known") == "known"
