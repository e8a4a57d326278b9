"""Which backups of a lake there are, when they go, and whom they still hold who was forgotten since."""

import json
import re
from datetime import datetime, timedelta

from lakehouse.backup_store import Store, store_at
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lake_secret import keep_private
from lakehouse.settings import Settings

MANIFEST = "manifest.json"
FORGOTTEN = "forgotten.json"
NAME = "%Y%m%dT%H%M%SZ"
"""So the folder of a backup is named after its moment."""
NAMED = r"\d{8}T\d{6}Z"
KNOWN = "backups.jsonl"
"""The lake's list of its backups. In the folder of the lake, not in its bucket: files are written where it says."""


def remember(settings: Settings, store: Store, made_at: datetime) -> None:
    """Let the lake know of a backup of it."""
    keep_private(settings)
    with (settings.data_dir / KNOWN).open("a") as known:
        known.write(json.dumps([str(store), made_at.isoformat()]) + "\n")


def whole_in(target: Store) -> list[str]:
    """Names of the whole backups in `target`, oldest first."""
    return [name for name in target.folders() if target.below(name).has(MANIFEST)]


def delete_old(settings: Settings, target: Store, now: datetime) -> list[str]:
    """Delete the whole backups in `target` that are older than the setting says; their names. Raises ShoplakeError."""
    from botocore.exceptions import ClientError

    if settings.backup_keep_days is None:
        return []
    before = f"{now - timedelta(days=settings.backup_keep_days):{NAME}}"
    old = [name for name in whole_in(target) if re.fullmatch(NAMED, name) and name < before]
    try:
        for name in old:
            target.below(name).delete()
    except (ClientError, OSError) as error:
        raise ShoplakeError(
            f"The backup is made; {name} is older than SHOPLAKE_BACKUP_KEEP_DAYS and stays ({error})."
        ) from None
    return old


def note_forgotten(settings: Settings, person: str) -> list[str]:
    """Write down in every backup that is still there that it holds a person who is forgotten, for whoever restores it;
    a sentence for each, with how long it stays."""
    from botocore.exceptions import BotoCoreError, ClientError

    listed = []
    for path, made_at in _known(settings).items():
        until = "until somebody deletes it"
        if settings.backup_keep_days is not None:
            until = f"until {(made_at + timedelta(days=settings.backup_keep_days)).date()}"
        try:
            store = store_at(settings, path)
            if not store.has(MANIFEST):
                continue
            persons = {*forgotten_in(store), person}
            store.write(FORGOTTEN, json.dumps(sorted(persons)).encode())
            listed.append(f"{path}, {until}")
        except (BotoCoreError, ClientError, OSError, ValueError, UsageError) as error:
            listed.append(f"{path}, {until}, if it is there: it cannot be looked at ({type(error).__name__})")
    return listed


def forgotten_in(store: Store) -> list[str]:
    """Names of persons (`lakehouse.persons`) whom this backup holds, and who were forgotten after it was made."""
    return list(json.loads(store.read(FORGOTTEN))) if store.has(FORGOTTEN) else []


def _known(settings: Settings) -> dict[str, datetime]:
    """Where backups were made, and when."""
    file = settings.data_dir / KNOWN
    lines = file.read_text().splitlines() if file.exists() else []
    return {path: datetime.fromisoformat(made_at) for path, made_at in map(json.loads, lines)}
