"""A person's name tells nothing, and its id stands as a word only where no other id does."""

import re
import time
from pathlib import Path

import pytest

from lakehouse import persons
from lakehouse.errors import UsageError
from lakehouse.jobs import JOBS
from lakehouse.persons import reword
from lakehouse.runs.registry import RunRegistry
from tests.support.platform import free_settings

USER = "u-4711-Grün"


def test_a_name_is_the_lakes_own(tmp_path: Path) -> None:
    one, other = free_settings(tmp_path / "1"), free_settings(tmp_path / "2")
    assert persons.name_of(one, USER) == persons.name_of(one, USER)
    assert len({persons.name_of(one, USER), persons.name_of(one, "u-4711"), persons.name_of(other, USER)}) == 3
    assert "4711" not in persons.name_of(one, USER)


def test_an_id_is_kept_for_its_owner_alone_until_it_is_dropped(tmp_path: Path) -> None:
    settings = free_settings(tmp_path)
    name = persons.keep(settings, USER)
    (file,) = (settings.run_dir / "forget").glob("*")
    assert file.stat().st_mode & 0o777 == 0o600
    assert persons.known(settings, name) == persons.known(settings, USER) == USER
    assert persons.keep(settings, name) == name, "what the registry keeps is kept as it is"
    persons.drop(settings, USER)
    assert persons.known(settings, name) is None and not file.exists()


def test_an_id_that_no_run_has_needed_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = free_settings(tmp_path)
    name = persons.keep(settings, USER)
    persons.drop_old(settings)
    assert persons.known(settings, name) == USER
    later = time.time() + persons.KEPT_SECONDS + 1
    monkeypatch.setattr(persons.time, "time", lambda: later)
    persons.drop_old(settings)
    assert persons.known(settings, name) is None


@pytest.mark.parametrize(
    ("text", "is_word"),
    [
        (USER, True),
        (f"/of/{USER}?a=1", True),
        (f'{{"user_id": "{USER}"}}', True),
        (r'{"user_id": "u-4711-Gr\u00fcn"}', True),
        (f"{USER}1", False),
        (f"x{USER}", False),
        (f"{USER}_old", False),
        ("u-4711-Grun", False),
        ("u-4711", False),
    ],
)
def test_an_id_is_a_word_where_no_other_id_stands(text: str, is_word: bool) -> None:
    assert bool(re.search(persons.as_word(USER), text)) is is_word
    assert bool(re.search(persons.bounded(USER), text)) is is_word


@pytest.mark.parametrize("user", ["u12", "shop", "event_id", "1200", "admin", "shop.clicks"])
def test_an_id_that_may_be_any_word_is_looked_for_as_an_id_alone(user: str) -> None:
    """Somebody may have chosen it to have everybody's records erased."""
    texts = (
        f'{{"event_id": "e1", "total": 1200, "a": "{user}"}}',
        f'["{user}"]',
        f"https://{user}.example/{user}",
        user,
    )
    for pattern in (persons.as_word(user), persons.bounded(user)):
        assert not any(re.search(pattern, text) for text in texts)
        for text in (f'{{"user_id": "{user}", "ev', f"default user_id={user}", rf'"{{\"user_id\": \"{user}\""'):
            assert re.search(pattern, text), text


@pytest.mark.parametrize("user", ["u-4711", "2026-09-03T10", "09-03T10"])
def test_a_part_of_another_word_is_no_word(user: str) -> None:
    text = '{"user_id": "u-4711-Grün", "timestamp": "2026-09-03T10:15:30Z"'
    assert not re.search(persons.as_word(user), text) and not re.search(persons.bounded(user), text)


@pytest.mark.parametrize("user", ["", "x" * 129])
def test_what_is_no_user_id_is_refused_without_being_repeated(user: str) -> None:
    with pytest.raises(UsageError, match="user of forget is wrong") as refusal:
        JOBS["forget"].parse({"user": user})
    assert "xxxx" not in str(refusal.value)


def test_the_registry_never_has_the_id(tmp_path: Path) -> None:
    settings, job = free_settings(tmp_path), JOBS["forget"]
    registry = RunRegistry.open(settings)
    run = registry.submit(job, job.parse({"user": USER}), caller="test").run
    assert run.parameters["user"] == persons.name_of(settings, USER)
    registry.close()
    files = [file.read_bytes() for file in settings.data_dir.glob("registry*") if file.is_file()]
    assert files and not any(b"u-4711" in body for body in files)
    given = job.parse(run.parameters).model_dump(mode="json", context=settings)
    assert given["user"] == run.parameters["user"]


def test_a_word_goes_from_the_whole_registry(tmp_path: Path) -> None:
    settings, job = free_settings(tmp_path), JOBS["replay_quarantine"]
    word = persons.as_word(USER)
    assert reword(settings, word, r"\1forgotten") == 0, "there is no registry yet"
    registry = RunRegistry.open(settings)
    runs = [
        registry.submit(job, job.parse({"fix": f'default user_id="{user}"'}), caller="test").run
        for user in (USER, f"{USER}2")
    ]
    registry.cancel(runs[0].id, f"{USER} has left")
    assert reword(settings, persons.as_word("queued"), r"\1forgotten") == 0
    assert reword(settings, word, r"\1forgotten") == 2
    found = [registry.get(run.id) for run in runs]
    assert [run and run.parameters["fix"] for run in found] == [
        'default user_id="forgotten"',
        f'default user_id="{USER}2"',
    ]
    assert [event.cause for event in registry.events(runs[0].id)][-1] == "forgotten has left"
    registry.close()
    bodies = [file.read_bytes() for file in settings.data_dir.glob("registry*") if file.is_file()]
    for spelling in persons.spellings(USER):
        assert not any(re.search(re.escape(spelling.encode()) + rb"(?!2)", body) for body in bodies)
