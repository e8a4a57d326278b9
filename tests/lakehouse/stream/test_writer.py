"""Who may write the lake: the newest stream of a data folder, and none beside a living one of another."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse import s3
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lock import stream_lock
from lakehouse.settings import Settings
from lakehouse.stream import writer
from lakehouse.stream.writer import Writer
from tests.support.moto_lake import moto_lake
from tests.support.platform import free_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    with moto_lake(tmp_path / "here", monkeypatch) as made:
        yield made


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sessions that a claim has ended; Spark itself is in the tests of crashes."""
    found: list[str] = []
    monkeypatch.setattr(writer, "end_session", lambda _settings, session_id: found.append(session_id))
    return found


def require(settings: Settings, token: str) -> None:
    writer.require(s3.s3_client(settings), settings.bucket, token)


def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})


def test_the_next_stream_of_a_folder_takes_over_and_the_one_before_may_write_no_more(
    settings: Settings, ended: list[str]
) -> None:
    one, other = Writer(settings), Writer(settings)
    first = one.take("session-1")
    require(settings, first)
    second = other.take("session-2")
    assert ended == ["session-1"]
    assert (one.took_over, other.took_over) == (False, True)
    require(settings, second)
    with pytest.raises(ShoplakeError, match="may write no more"):
        require(settings, first)


def aged(monkeypatch: pytest.MonkeyPatch, *ages: float) -> Iterator[float]:
    """Let claims look so old, one look after another; what was not looked at is left."""
    left, read = iter(ages), writer._read
    monkeypatch.setattr(writer, "_read", lambda client, bucket: (read(client, bucket)[0], next(left, 0.0)))
    monkeypatch.setattr(writer, "WATCH_SECONDS", 0.0)
    return left


def test_a_living_stream_of_another_folder_is_refused_and_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Writer(settings).take("session-1")
    left = aged(monkeypatch, 20.0, 22.0, 1.0)
    with pytest.raises(ShoplakeError, match=f"written by the stream of {socket.gethostname()}:.*/here/lake; two would"):
        Writer(elsewhere(settings, tmp_path)).take("session-2")
    assert next(left, None) is None, "it was looked at until it was renewed"
    require(settings, token)


def test_a_dead_one_is_waited_for(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Writer(settings).take("session-1")
    aged(monkeypatch, 100.0, 110.0, writer.FRESH_SECONDS)
    require(settings, Writer(elsewhere(settings, tmp_path)).take("session-2"))


def test_one_that_has_given_up_or_died_is_no_obstacle(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[str]
) -> None:
    first, other = Writer(settings), Writer(elsewhere(settings, tmp_path))
    mine = first.take("session-1")
    first.give_up()
    with pytest.raises(ShoplakeError, match="claimed by nobody"):
        require(settings, mine)
    token = other.take("session-2")
    assert ended == ["session-1"] and other.took_over, "what the stopped query had begun may still be under way"
    first.give_up()
    require(settings, token)

    aged(monkeypatch, writer.FRESH_SECONDS + 1)
    require(settings, Writer(settings).take("session-3"))


def test_a_claim_is_renewed_until_another_has_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RENEW_SECONDS", 0.0)
    first = Writer(settings)
    token = first.take("session-1")
    first.renew()
    require(settings, token)
    Writer(settings).take("session-2")
    with pytest.raises(ShoplakeError, match="may write no more"):
        first.renew()


def test_an_s3_that_does_not_answer_is_told_at_the_start_and_waited_for_later(settings: Settings) -> None:
    token = Writer(settings).take("session-1")
    away = free_settings(settings.data_dir, bucket="lake")
    require(away, token)
    with pytest.raises(ShoplakeError, match="does not say who writes the lake"):
        Writer(away).take("session-2")


def test_a_claim_that_cannot_be_read_is_nobodys(settings: Settings) -> None:
    s3.s3_client(settings).put_object(Bucket=settings.bucket, Key=writer.KEY, Body=b"[]")
    require(settings, Writer(settings).take("session-1"))


def test_a_second_stream_of_a_folder_hears_one_sentence(settings: Settings) -> None:
    first, second = stream_lock(settings), stream_lock(settings)
    first.acquire()
    with pytest.raises(UsageError, match="runs already: `shoplake status`"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
