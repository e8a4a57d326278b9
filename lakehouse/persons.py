"""Who is to be forgotten: the id in a private file while a run needs it, and a keyed hash of it everywhere else.

So no run, log or receipt keeps the id, and whoever has the id and the lake can still ask whether it was forgotten.
"""

import hmac
import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from lakehouse.lake_secret import PRIVATE_FILE, secret_for
from lakehouse.reports import replace_text
from lakehouse.settings import Settings

KEPT_SECONDS = 86_400.0
"""The id of a run that was cancelled, or never began, goes after that."""
_NAME = re.compile(r"person-[0-9a-f]{32}")
_OF_IDS = r"A-Za-z0-9_:\-"
_OF_NO_WORD = re.compile(r"(?=.*[A-Za-z])(?=.*\d).{4}", re.DOTALL)
_BEFORE = r"user_id\W{1,6}"
_BUSY_SECONDS = 30
_TEXTS = (
    "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
    " WHERE m.type = 'table' AND m.name LIKE 'run%' AND c.type IN ('JSON', 'TEXT')"
)


def name_of(settings: Settings, user_id: str) -> str:
    """What stands for a person in runs and receipts."""
    key = secret_for(settings, "forgotten persons").encode()
    return f"person-{hmac.digest(key, user_id.encode(), 'sha256').hex()[:32]}"


def keep(settings: Settings, user_id: str) -> str:
    """Keep an id for a run that is to forget it; its name. The name of one that is kept stands for itself."""
    if _NAME.fullmatch(user_id):
        return user_id
    name = name_of(settings, user_id)
    replace_text(_folder(settings) / name, user_id, PRIVATE_FILE)
    return name


def known(settings: Settings, given: str) -> str | None:
    """The id that was given itself or by its name; None when it is not kept any more."""
    if not _NAME.fullmatch(given):
        return given
    try:
        return (_folder(settings) / given).read_text()
    except OSError:
        return None


def drop(settings: Settings, user_id: str) -> None:
    """Keep an id no longer."""
    (_folder(settings) / name_of(settings, user_id)).unlink(missing_ok=True)


def drop_old(settings: Settings) -> None:
    """Keep no id that no run has needed for long."""
    for file in _folder(settings).glob("*"):
        if time.time() - file.stat().st_mtime > KEPT_SECONDS:
            file.unlink(missing_ok=True)


def spellings(user_id: str) -> tuple[str, ...]:
    """The id as it stands in texts: as it is, and as JSON writes it."""
    return tuple(dict.fromkeys((user_id, json.dumps(user_id)[1:-1], json.dumps(user_id, ensure_ascii=False)[1:-1])))


def as_word(user_id: str) -> str:
    """A pattern, for Python and Java alike, that finds the id as a word of its own; group 1 is what stands before.

    One without letters and digits may be any word, or a number: `shop`, `event_id`, `1200`. People may have chosen it
    for that. It is looked for behind `user_id` alone.
    """
    return f"({_before(user_id)})(?<![{_OF_IDS}])(?:{_listed(user_id)})(?![{_OF_IDS}])"


def bounded(user_id: str) -> str:
    """The same for RE2, which cannot look around; the match has the letters beside the id in it."""
    return f"{_before(user_id) or f'(?:^|[^{_OF_IDS}])'}(?:{_listed(user_id)})(?:[^{_OF_IDS}]|$)"


def reword(settings: Settings, pattern: str, by: str) -> int:
    """Write `by` wherever a text that the registry keeps of runs has the pattern (parameters, results, errors,
    progress, logs); how many texts are others now. What stood there is overwritten in the file, too."""
    if not settings.registry_file.exists():
        return 0
    wanted, changed = re.compile(pattern), 0
    opened = sqlite3.connect(settings.registry_file, timeout=_BUSY_SECONDS, isolation_level=None)
    with closing(opened) as connection:
        connection.create_function("reworded", 1, lambda text: text and wanted.sub(by, text), deterministic=True)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        for table, column in connection.execute(_TEXTS).fetchall():
            update = (
                f'UPDATE "{table}" SET "{column}" = reworded("{column}") WHERE "{column}" IS NOT reworded("{column}")'  # noqa: S608 - the names are those of the file
            )
            changed += connection.execute(update).rowcount
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return changed


def _before(user_id: str) -> str:
    return "" if _OF_NO_WORD.match(user_id) else _BEFORE


def _listed(user_id: str) -> str:
    return "|".join(re.escape(each) for each in spellings(user_id))


def _folder(settings: Settings) -> Path:
    return settings.run_dir / "forget"
