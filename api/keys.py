"""API keys: made, listed, revoked and recognised. A key is shown once; the database holds only its hash."""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta

import sqlalchemy as sa

from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.runs.database import Database
from lakehouse.runs.models import ApiKeyRow, AuditRow, now

SCOPES = {
    "jobs:read": "See jobs, and the runs that this caller started.",
    "jobs:run": "Start jobs.",
    "jobs:cancel": "Cancel the runs that this caller started.",
    "gold:read": "Read the published gold tables.",
    "trace:read": "Follow records and numbers through the lake, users and amounts included.",
    "admin": "All of these, also for the runs of others; pause and resume schedules.",
}
PREFIX = "slk"
OPERATOR, SCHEDULE = "operator", "schedule"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KEY = re.compile(PREFIX + r"_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
USE_IS_NOTED_EVERY = timedelta(minutes=1)


Caller = ApiKeyRow
"""Who asks, by the key that was shown. `name` owns runs; several keys of one name are one caller, so that keys can be
exchanged."""


def create(database: Database, name: str, scopes: list[str], lifetime: timedelta | None = None) -> str:
    """A new key. Raises UsageError for a name or scope that cannot be."""
    if not _NAME.fullmatch(name) or name in (OPERATOR, SCHEDULE):
        raise UsageError(
            f"The name {name!r} cannot be used: take lower-case letters, digits and . _ - (not {OPERATOR}, {SCHEDULE})."
        )
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        wrong = f"There is no scope {unknown[0]!r}" if unknown else "A key needs a scope"
        raise UsageError(f"{wrong}; the scopes are {', '.join(SCOPES)}.")
    return issue(database, name, scopes, lifetime)


def issue(database: Database, name: str, scopes: list[str], lifetime: timedelta | None = None) -> str:
    """A new key of whatever name. Older ones of that name stay valid: they may be another machine's."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    with database.writing() as session:
        session.add(
            ApiKeyRow(
                id=key_id,
                name=name,
                secret_hash=_hash(secret),
                scopes=sorted(set(scopes)),
                created_at=now(),
                expires_at=now() + lifetime if lifetime else None,
            )
        )
        target = f"{name} {' '.join(scopes)}"
        session.add(AuditRow(action="key.create", target=target, outcome="done", caller=OPERATOR))
    return f"{PREFIX}_{key_id}_{secret}"


def listed(database: Database) -> list[ApiKeyRow]:
    """All keys, the newest first, without their secrets."""
    with database.reading() as session:
        return list(session.scalars(sa.select(ApiKeyRow).order_by(ApiKeyRow.created_at.desc())))


def revoke(database: Database, which: str) -> int:
    """Revoke a key by its id, or all keys of a name; how many. Raises ShoplakeError when there is none."""
    is_meant = sa.or_(ApiKeyRow.id == which, ApiKeyRow.name == which)
    change = sa.update(ApiKeyRow).where(is_meant, ApiKeyRow.revoked_at.is_(None)).values(revoked_at=now())
    with database.writing() as session:
        count = len(session.scalars(change.returning(ApiKeyRow.id)).all())
        if not count:
            raise ShoplakeError(f"There is no valid key {which!r}; `shoplake keys list` shows all.")
        session.add(AuditRow(action="key.revoke", target=which, outcome="done", caller=OPERATOR))
    return count


def recognise(database: Database, key: str) -> Caller | None:
    """Whose key this is; None when it is unknown, wrong, expired or revoked."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    key_id, secret = found.groups()
    with database.reading() as session:
        row = session.get(ApiKeyRow, key_id)
    # An unknown id is compared too, so that the time tells nothing about which ids exist.
    is_right = hmac.compare_digest(row.secret_hash if row else _hash(""), _hash(secret))
    is_valid = row is not None and row.revoked_at is None and (row.expires_at is None or row.expires_at > now())
    return row if is_right and is_valid else None


def is_use_noted(key: ApiKeyRow) -> bool:
    """Whether it is known, to USE_IS_NOTED_EVERY, that the key is in use."""
    return key.last_used_at is not None and now() - key.last_used_at < USE_IS_NOTED_EVERY


def note_use(database: Database, key: ApiKeyRow) -> None:
    """Keep that the key is used now."""
    with database.writing() as session:
        session.execute(sa.update(ApiKeyRow).where(ApiKeyRow.id == key.id).values(last_used_at=now()))


def _hash(secret: str) -> str:
    """SHA-256 is right here: the secret has 256 random bits, so there is nothing to guess, and nothing that a slow
    password hash would make harder. It would only make each request slow."""
    return hashlib.sha256(secret.encode()).hexdigest()
