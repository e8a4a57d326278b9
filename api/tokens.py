"""Access tokens: short-lived JWTs (HS256 only) that a key is exchanged for, signed by keys that rotate."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
import sqlalchemy as sa

from api import keys
from api.keys import Caller
from lakehouse.runs.database import Database
from lakehouse.runs.models import SigningKeyRow

ALGORITHM = "HS256"
ISSUER, AUDIENCE = "shoplake", "shoplake-api"
ROTATE_AFTER = timedelta(days=30)
KEPT_AFTER_ROTATION = timedelta(hours=1)
"""Longer than any token lives, so that tokens signed before a rotation stay valid until they expire."""
_CLAIMS = ["exp", "iat", "iss", "aud", "sub", "kid", "scope"]


@dataclass(frozen=True)
class Token:
    """A signed token and for how many seconds it is valid."""

    text: str
    seconds: int
    scopes: frozenset[str]


def issue(database: Database, caller: Caller, scopes: frozenset[str], lifetime: timedelta) -> Token:
    """A token for `caller` with `scopes`, which the caller must have."""
    signing_key = _current(database)
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": caller.name,
        "kid": caller.key_id,
        "scope": " ".join(sorted(scopes)),
        "iat": now,
        "exp": now + lifetime,
        "jti": secrets.token_hex(8),
    }
    text = jwt.encode(claims, signing_key.secret, ALGORITHM, headers={"kid": signing_key.kid})
    return Token(text, int(lifetime.total_seconds()), scopes)


def recognise(database: Database, text: str) -> Caller | None:
    """Whose token this is; None when it is forged, expired, signed by a retired key, or its API key was revoked."""
    try:
        kid = jwt.get_unverified_header(text).get("kid")
        secret = _verifying_secret(database, kid) if isinstance(kid, str) else None
        if secret is None:
            return None
        claims = jwt.decode(
            text, secret, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options={"require": _CLAIMS}
        )
    except (jwt.PyJWTError, UnicodeError):
        return None
    owner = keys.still_valid(database, str(claims["kid"]))
    if owner is None:
        return None
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return Caller(
        owner.name,
        frozenset(str(claims["scope"]).split()) & owner.scopes,
        owner.key_id,
        min(expires_at, owner.expires_at or expires_at),
    )


def rotate(database: Database) -> str:
    """Sign with a new key from now on; its id. Tokens that are out stay valid until they expire."""
    now = datetime.now(UTC)
    fresh = SigningKeyRow(kid=secrets.token_hex(8), secret=secrets.token_bytes(48), created_at=now)
    with database.writing() as session:
        session.execute(sa.update(SigningKeyRow).where(SigningKeyRow.retired_at.is_(None)).values(retired_at=now))
        session.execute(sa.delete(SigningKeyRow).where(SigningKeyRow.retired_at < now - KEPT_AFTER_ROTATION))
        session.add(fresh)
    return fresh.kid


def _current(database: Database) -> SigningKeyRow:
    newest = (
        sa.select(SigningKeyRow).where(SigningKeyRow.retired_at.is_(None)).order_by(SigningKeyRow.created_at.desc())
    )
    for _ in range(2):
        with database.reading() as session:
            found = session.scalars(newest.limit(1)).first()
        if found is not None and datetime.now(UTC) - found.created_at < ROTATE_AFTER:
            return found
        rotate(database)
    raise RuntimeError("a new signing key vanished at once")


def _verifying_secret(database: Database, kid: str) -> bytes | None:
    with database.reading() as session:
        row = session.get(SigningKeyRow, kid)
        if row is None or (row.retired_at and datetime.now(UTC) - row.retired_at > KEPT_AFTER_ROTATION):
            return None
        return row.secret
