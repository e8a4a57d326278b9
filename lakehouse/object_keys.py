"""Keys of a bucket, before one becomes a path: a Delta log or a manifest may have been written by somebody else."""

from __future__ import annotations

import re

from lakehouse.errors import ShoplakeError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def inside(key: str, whose: str) -> str:
    """The key, if it names a place below where it is used. Raises ShoplakeError, which tells `whose` key it is."""
    parts = key.split("/")
    if not key.isprintable() or "\\" in key or _SCHEME.match(key) or any(part in ("", ".", "..") for part in parts):
        raise ShoplakeError(f"{whose} has a file outside its own folder ({key[:200]!a}).")
    return key
