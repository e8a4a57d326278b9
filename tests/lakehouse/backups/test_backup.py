"""Backup and restore with a real S3 server over tables made by hand.

The whole platform, with a stream that goes on: tests/e2e/test_backup_beside_stream.py.
"""

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api import keys
from gold import kpis, user_days
from lakehouse import backup_ages as ages
from lakehouse import delta_log
from lakehouse.backup_store import store_at
from lakehouse.backups import backup
from lakehouse.cli import app
from lakehouse.delta_log import snapshot
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lake_secret import s3_keys
from lakehouse.lock import lake_lock
from lakehouse.ops import batches, marks
from lakehouse.runs.registry import RunRegistry
from lakehouse.s3 import s3_client
from lakehouse.settings import Settings
from tests.support.folder_s3 import FolderTable
from tests.support.platform import free_settings


def nothing(_table: str, _done: int, _total: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class HandMade:
    """A lake of two small tables and a registry, and the folder in which the S3 server keeps its bucket."""

    settings: Settings
    bucket: Path

    def fill(self) -> None:
        for table in (kpis.TABLE, user_days.TABLE):
            hand_made = FolderTable(self.bucket / table.layer / table.name, {"n": "long"})
            hand_made.create()
            for number in range(3):
                hand_made.commit(f"SELECT {number} AS n")
        RunRegistry.open(self.settings).close()

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.bucket.rglob("*") if path.is_file())
        return {str(path.relative_to(self.bucket)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of an S3 server that all tests share."""
    settings = free_settings(tmp_path_factory.mktemp("s3"))
    with backup.s3_answers(settings):
        yield settings


@pytest.fixture
def lake(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandMade:
    """A lake in a bucket of its own."""
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3_keys(server), strict=True):
        monkeypatch.setenv(name, value)
    bucket = f"lake-{uuid.uuid4().hex}"
    made = HandMade(
        free_settings(tmp_path, s3_endpoint=server.endpoint, bucket=bucket), server.data_dir / "s3" / bucket
    )
    made.fill()
    return made


def test_a_lake_that_is_down_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Backup and restore start the embedded S3 server for themselves."""
    settings = free_settings(tmp_path)
    lake = HandMade(settings, settings.data_dir / "s3" / settings.bucket)
    lake.fill()
    files, registry = lake.files(), settings.data_dir / "registry.sqlite3"
    made = backup.back_up(settings, str(tmp_path / "backups"), nothing)
    assert ages.whole_in(store_at(settings, str(tmp_path / "backups"))) == [Path(made["path"]).name]
    shutil.rmtree(settings.data_dir)
    settings.checkpoints.mkdir(parents=True)
    backup.restore(settings, made["path"], nothing)
    assert lake.files() == files
    assert registry.stat().st_mode & 0o777 == 0o600
    RunRegistry.open(settings).close()
    assert not settings.checkpoints.exists(), "a checkpoint of a later state would skip records"


def test_a_backup_has_only_what_the_newest_version_needs(lake: HandMade, tmp_path: Path) -> None:
    (lake.bucket / "gold" / "kpis_hourly" / "left-over.parquet").write_bytes(b"no version needs this")
    made = backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)
    assert not list(Path(made["path"]).rglob("left-over.parquet"))
    assert made["tables"]["gold.kpis_hourly"]["version"] == 3


def test_keys_come_back_revoked(lake: HandMade, tmp_path: Path) -> None:
    """Some were since the backup was made, and nobody knows which."""
    with closing(RunRegistry.open(lake.settings)) as registry:
        key = keys.create(registry.database, "dashboards", ["gold:read"])
    made = backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)
    shutil.rmtree(lake.bucket)
    backup.restore(lake.settings, made["path"], nothing)
    with closing(RunRegistry.open(lake.settings)) as registry:
        assert keys.recognise(registry.database, key) is None
        assert [(one.name, one.revoked_at is None) for one in keys.listed(registry.database)] == [("dashboards", False)]


TRIGGER = "CREATE TRIGGER t AFTER UPDATE ON api_keys BEGIN DELETE FROM runs; END;"
ROW = "'x', 'h', '[]', 0"
THEIRS = f"INSERT INTO {{}} (id, name, secret_hash, scopes, created_at) VALUES ('a', {ROW}), ('b', {ROW});"
COLUMNS = "id, name, secret_hash, scopes, created_at, expires_at, last_used_at, revoked_at"
FOREIGN = {
    "triggers": TRIGGER,
    "a disguise": f"{TRIGGER} PRAGMA writable_schema = ON; UPDATE sqlite_master SET type = 'table' WHERE name = 't';",
    "a virtual table": f"DROP TABLE api_keys; CREATE TABLE theirs ({COLUMNS}); {THEIRS.format('theirs')}"
    f"CREATE VIRTUAL TABLE api_keys USING fts5({COLUMNS}, content='theirs');"
    "INSERT INTO api_keys (api_keys) VALUES ('rebuild');",
    "constraints": f"DROP TABLE api_keys; CREATE TABLE api_keys ({COLUMNS} UNIQUE ON CONFLICT IGNORE);"
    + THEIRS.format("api_keys"),
}
"""Registries in which a key would stay as it is, or more would happen, when keys are revoked."""


@pytest.mark.parametrize("kind", ["triggers", "a disguise", "a virtual table", "constraints", "no database", "missing"])
def test_a_registry_that_no_lake_has_written_is_refused_before_anything_is_done(
    lake: HandMade, tmp_path: Path, kind: str
) -> None:
    made = backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)
    file = Path(made["path"]) / backup.REGISTRY
    if kind in FOREIGN:
        with closing(sqlite3.connect(file)) as registry:
            registry.executescript(FOREIGN[kind])
    elif kind == "missing":
        file.unlink()
    else:
        file.write_bytes(b"no database" * 100)
    shutil.rmtree(lake.bucket)
    with pytest.raises(UsageError, match=r"its registry\.sqlite3 is no registry of a lake \("):
        backup.restore(lake.settings, made["path"], nothing)
    assert not lake.bucket.exists()


def test_restoring_over_a_lake_is_refused(lake: HandMade, tmp_path: Path) -> None:
    made = backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)
    before = lake.files()
    with pytest.raises(UsageError, match=r"has records already \(gold\."):
        backup.restore(lake.settings, made["path"], nothing)
    assert lake.files() == before


def test_tables_that_a_start_has_made_give_way(lake: HandMade, tmp_path: Path) -> None:
    """As on a machine whose platform came up before anybody could restore: tables without a record, runs of jobs."""
    made = backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)
    files = lake.files()
    shutil.rmtree(lake.bucket)
    for table in (kpis.TABLE, batches.TABLE, marks.TABLE):
        empty = FolderTable(lake.bucket / table.layer / table.name, {"n": "long"})
        empty.create()
    empty.commit("SELECT 1 AS n")
    backup.restore(lake.settings, made["path"], nothing)
    assert lake.files() == files


def test_restoring_beside_a_running_platform_is_refused(lake: HandMade, tmp_path: Path) -> None:
    made = backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)
    lock = lake_lock(lake.settings)
    lock.acquire()
    try:
        with pytest.raises(UsageError, match="already up"):
            backup.restore(lake.settings, made["path"], nothing)
    finally:
        lock.release()


def test_a_copy_that_was_cut_off_is_no_backup(lake: HandMade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_lost_file(*given: Any) -> delta_log.Snapshot | None:
        found = snapshot(*given)
        if found is not None:
            (lake.bucket / found.data[-1]).unlink()
        return found

    monkeypatch.setattr(backup, "snapshot", with_a_lost_file)
    with pytest.raises(ShoplakeError, match="not complete"):
        backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)
    assert ages.whole_in(store_at(lake.settings, str(tmp_path / "backups"))) == []
    folder = next((tmp_path / "backups").iterdir())
    with pytest.raises(UsageError, match="is not a backup"):
        backup.restore(lake.settings, str(folder), nothing)


def test_from_bucket_to_bucket(lake: HandMade) -> None:
    files = lake.files()
    s3_client(lake.settings).create_bucket(Bucket="backups")
    made = backup.back_up(lake.settings, "s3://backups/shop", nothing)
    assert ages.whole_in(store_at(lake.settings, "s3://backups/shop")) == [made["path"].rpartition("/")[2]]
    shutil.rmtree(lake.bucket)
    backup.restore(lake.settings, made["path"], nothing)
    assert lake.files() == files


@pytest.mark.parametrize("place", ["{folder}/backups", "s3://old-{number}/shop"])
def test_backups_go_when_they_are_as_old_as_the_setting_says(lake: HandMade, tmp_path: Path, place: str) -> None:
    number = uuid.uuid4().hex[:8]
    s3_client(lake.settings).create_bucket(Bucket=f"old-{number}")
    target = place.format(folder=tmp_path, number=number)
    settings = lake.settings.model_copy(update={"backup_keep_days": 30})
    store = store_at(settings, target)
    names = [f"{datetime.now(UTC) - timedelta(days=days):{ages.NAME}}" for days in (31, 29)]
    for name in names:
        store.below(name).write("lake/file", b"something")
        store.below(name).write(backup.MANIFEST, b"{}")
    cut_off = f"{datetime.now(UTC) - timedelta(days=40):{ages.NAME}}"
    store.below(cut_off).write("lake/file", b"no manifest: nobody knows what it is")
    store.below("20260101-other").write(backup.MANIFEST, b"{}")
    made = backup.back_up(settings, target, nothing)
    assert made["deleted"] == names[:1]
    left = [cut_off, "20260101-other", names[1], Path(made["path"]).name]
    assert sorted(store.folders()) == sorted(left)
    assert backup.back_up(lake.settings, f"{target}/unset", nothing)["deleted"] == []


def test_who_was_forgotten_is_written_down_in_every_backup_that_is_there(lake: HandMade, tmp_path: Path) -> None:
    s3_client(lake.settings).create_bucket(Bucket="of-forgotten")
    here = backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)["path"]
    gone = backup.back_up(lake.settings, str(tmp_path / "gone"), nothing)["path"]
    shutil.rmtree(gone)
    there = backup.back_up(lake.settings, "s3://of-forgotten/shop", nothing)["path"]
    settings = lake.settings.model_copy(update={"backup_keep_days": 10})
    until = (datetime.now(UTC) + timedelta(days=10)).date()
    for person in ("person-a", "person-b", "person-a"):
        told = ages.note_forgotten(settings, person)
    assert sorted(told) == sorted([f"{here}, until {until}", f"{there}, until {until}"])
    shutil.rmtree(lake.bucket)
    (lake.settings.data_dir / ages.KNOWN).unlink()
    assert backup.restore(lake.settings, here, nothing)["forgotten"] == ["person-a", "person-b"]
    assert ages.note_forgotten(settings, "person-c") == [f"{here}, until {until}"], "a restored lake knows its backup"


def test_a_backup_that_cannot_be_looked_at_is_named(lake: HandMade) -> None:
    s3_client(lake.settings).create_bucket(Bucket="taken-away")
    made = backup.back_up(lake.settings, "s3://taken-away/shop", nothing)["path"]
    shutil.rmtree(lake.bucket.parent / "taken-away")
    (told,) = ages.note_forgotten(lake.settings, "person-a")
    assert told.startswith(f"{made}, until somebody deletes it, if it is there")


@pytest.mark.parametrize("address", ["https://example.org/x", "s3://", "s3://UPPER/x", "s3://{bucket}/backups"])
def test_places_that_cannot_be_used(lake: HandMade, address: str) -> None:
    with pytest.raises(UsageError, match=r"no place for a backup|own bucket"):
        backup.back_up(lake.settings, address.format(bucket=lake.settings.bucket), nothing)


def test_a_log_with_a_hole_is_refused(lake: HandMade, tmp_path: Path) -> None:
    (lake.bucket / "gold" / "kpis_hourly" / "_delta_log" / f"{1:020}.json").unlink()
    with pytest.raises(ShoplakeError, match="has no version 1"):
        backup.back_up(lake.settings, str(tmp_path / "backups"), nothing)


def test_the_command_says_one_sentence(lake: HandMade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPLAKE_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["restore", str(tmp_path / "missing")])
    assert isinstance(done.exception, UsageError)
    assert "is not a backup" in str(done.exception)
