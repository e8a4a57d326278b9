"""Backup and restore of a lake: its Delta tables at one version each, and the run registry.

The book and the marks of jobs are looked at first, the tables they speak of after them, bronze last. So a backup that
is made while the stream runs holds everything that its book says, and maybe a part of the next batch: what a crash in
the middle of a batch leaves, which the stream mends when it starts without a checkpoint. It then goes on in Kafka
where the book of the backup ends.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from lakehouse import backup_ages as ages
from lakehouse.backup_ages import MANIFEST
from lakehouse.backup_store import Store, store_at
from lakehouse.catalog import TABLES
from lakehouse.delta_log import Snapshot, snapshot
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lock import lake_lock
from lakehouse.s3 import delete_objects, inside, listed, s3_client
from lakehouse.services import s3
from lakehouse.services.child import alone
from lakehouse.services.jars import fetch_jars
from lakehouse.settings import Settings
from lakehouse.table import Table

FORMAT = 1
REGISTRY = "registry.sqlite3"
PARALLEL_COPIES = 8
_FOREIGN = """
SELECT 1 FROM sqlite_master WHERE sql NOT LIKE 'CREATE TABLE %' AND sql NOT LIKE 'CREATE INDEX %'
    AND sql NOT LIKE 'CREATE UNIQUE INDEX %'
"""
"""Finds triggers, views and virtual tables by what they are, not by what the file calls them."""
_REVOKE = "UPDATE OR ABORT api_keys NOT INDEXED SET revoked_at = datetime('now') WHERE revoked_at IS NULL"
"""Whatever constraints and indexes somebody else has written into the file, no key stays as it was."""
Report = Callable[[str, int, int], None]
"""Hears what is being copied, and how many files of how many are done."""


def back_up(settings: Settings, target: str, report: Report) -> dict[str, Any]:
    """Copy the lake into a new folder of `target` (a folder or s3://bucket/prefix); returns what the manifest says.

    The platform may be up or down. Raises UsageError for a target that cannot be used, ShoplakeError when a copy
    cannot be finished: without a manifest, what was copied is no backup.
    """
    made_at = datetime.now(UTC)
    place = store_at(settings, target)
    store = place.below(f"{made_at:{ages.NAME}}")
    with s3_answers(settings):
        if store.has(MANIFEST):
            raise UsageError(f"There is a backup of this second already in {store}: try again.")
        client = s3_client(settings)
        registry = _copy_registry(settings, store)
        found: dict[str, Snapshot] = {}
        take = partial(store.take, settings.bucket)
        for table in reversed(TABLES):
            if (one := snapshot(client, settings.bucket, table)) is not None:
                found[table.full_name] = one
                # At once: a log is cleaned up sooner than the files of a large table are copied.
                _copy(f"{table.full_name}, its log", one.log, take, report)
        if not found:
            raise UsageError(f"The bucket {settings.bucket} has no tables yet: there is nothing to back up.")
        ages.remember(settings, store, made_at)
        for name, one in found.items():
            _copy(name, one.data, take, report)
    manifest = {
        "format": FORMAT,
        "made_at": made_at.isoformat(timespec="seconds"),
        "bucket": settings.bucket,
        "registry": registry,
        "tables": {name: _described(one) for name, one in reversed(found.items())},
    }
    store.write(MANIFEST, json.dumps(manifest, indent=1).encode())
    return {"path": str(store), "deleted": ages.delete_old(settings, place, made_at), **manifest}


def restore(settings: Settings, source: str, report: Report) -> dict[str, Any]:
    """Bring a lake back from `source`, one backup's folder; returns its manifest.

    The platform must be down, and the bucket without records: tables that a start has made and nothing has come into
    are replaced. The checkpoint and the published file of this lake go: they speak of a later state. API keys come back
    revoked. Raises UsageError when that is not so or `source` is no backup.
    """
    store = store_at(settings, source)
    lock = lake_lock(settings)
    lock.acquire()
    try:
        with s3_answers(settings, is_locked=True):
            manifest = _manifest(store, source)
            registry = _read_registry(store, manifest["registry"])
            s3.ensure_bucket(settings)
            client = s3_client(settings)
            _clear(client, settings)
            for name, table in manifest["tables"].items():
                _copy(name, table["files"], partial(store.give, settings.bucket), report)
            _restore_registry(settings, registry)
            ages.remember(settings, store, datetime.fromisoformat(manifest["made_at"]))
        manifest["forgotten"] = ages.forgotten_in(store)
        for folder in (settings.checkpoints, settings.serving_file.parent):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()
    return manifest


def _manifest(store: Store, source: str) -> dict[str, Any]:
    if not store.has(MANIFEST):
        known = ages.whole_in(store)
        hint = f" Backups there: {', '.join(known)}." if known else ""
        raise UsageError(f"{source} is not a backup: it has no {MANIFEST}.{hint}")
    try:
        manifest: dict[str, Any] = json.loads(store.read(MANIFEST))
        if manifest.get("format") != FORMAT:
            raise UsageError(f"{source} has the format {manifest.get('format')}, which this version does not know.")
        layers = {known.layer for known in TABLES}
        for name, table in manifest["tables"].items():
            folder, is_ours = f"{name.replace('.', '/')}/", name.partition(".")[0] in layers
            # Elsewhere in the bucket may be what executors run.
            if not (is_ours and all(inside(key, source).startswith(folder) for key in table["files"])):
                raise ValueError
        datetime.fromisoformat(manifest["made_at"])
        if manifest["registry"] not in ("sqlite", "none"):
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UsageError(f"{source} is not a backup: its {MANIFEST} is none that a lake has written.") from None
    return manifest


def _described(one: Snapshot) -> dict[str, Any]:
    return {"version": one.version, "bytes": one.data_bytes, "files": list(one.files)}


def _copy(name: str, keys: Iterable[str], copy: Callable[[str], None], report: Report) -> None:
    """Copy files in parallel, and a table's log only after all its data, in its order."""
    from botocore.exceptions import BotoCoreError, ClientError

    listed = list(keys)
    data = [key for key in listed if "/_delta_log/" not in key]
    log = [key for key in listed if "/_delta_log/" in key]
    report(name, 0, len(listed))
    try:
        with ThreadPoolExecutor(PARALLEL_COPIES) as pool:
            for done, _ in enumerate(pool.map(copy, data), 1):
                report(name, done, len(listed))
        for done, key in enumerate(log, len(data) + 1):
            copy(key)
            report(name, done, len(listed))
    except (BotoCoreError, ClientError, OSError) as error:
        raise ShoplakeError(f"{name} cannot be copied ({error}): what was copied is not complete. Try again.") from None


def _clear(client: Any, settings: Settings) -> None:
    """Delete tables that have never had a record. Raises UsageError when one has."""
    for table in TABLES:
        found = None if _is_filled_without_records(table) else snapshot(client, settings.bucket, table)
        if found is not None and found.live:
            raise UsageError(
                f"The bucket {settings.bucket} has records already ({table.full_name}): restore into an empty one "
                "(SHOPLAKE_BUCKET), or move what is there away first."
            )
    for table in TABLES:
        objects = listed(client, settings.bucket, f"{table.layer}/{table.name}/")
        delete_objects(client, settings.bucket, [{"Key": one["Key"]} for one in objects])


def _is_filled_without_records(table: Table) -> bool:
    """Whether a platform that has read nothing yet writes into this table: jobs by schedule, the rolling hour."""
    return (table.layer == "ops" and table.fed == "batch") or (table.live is not None and table.hourly is None)


def _copy_registry(settings: Settings, store: Store) -> str:
    """Copy the registry while it is used; `sqlite`, or `none` when there is none yet."""
    file = settings.registry_file
    if not file.exists():
        return "none"
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / REGISTRY
        with (
            closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(aside)) as copy,
        ):
            live.backup(copy)
        store.write(REGISTRY, aside.read_bytes())
    return "sqlite"


def _read_registry(store: Store, kind: str) -> bytes | None:
    """The registry of a backup with its API keys revoked: some may have been since, and others may write backups.
    Raises UsageError for one that no lake has written."""
    if kind != "sqlite":
        return None
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / REGISTRY
        try:
            aside.write_bytes(store.read(REGISTRY))
            with closing(sqlite3.connect(aside)) as copy, copy:
                if copy.execute(_FOREIGN).fetchone():
                    raise sqlite3.DatabaseError("it has more than tables and indexes")
                copy.execute(_REVOKE)
        except (sqlite3.DatabaseError, OSError) as error:
            raise UsageError(f"{store} is not a backup: its {REGISTRY} is no registry of a lake ({error}).") from None
        return aside.read_bytes()


def _restore_registry(settings: Settings, registry: bytes | None) -> None:
    if registry is None:
        return
    file = settings.registry_file
    for name in (f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(registry)


@contextmanager
def s3_answers(settings: Settings, *, is_locked: bool = False) -> Iterator[None]:
    """Let S3 answer meanwhile: the embedded server is started, and nothing else, when the platform is down."""
    service = s3.service(settings)
    if not settings.s3_is_embedded or service.is_healthy(0):
        yield
        return
    lock = lake_lock(settings)
    if not is_locked:
        lock.acquire()
    try:
        fetch_jars(("s3proxy",))
        with alone(service, settings):
            yield
    finally:
        lock.release()
