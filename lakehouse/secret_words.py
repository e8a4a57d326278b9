"""The secrets that a process has in its environment, made unreadable in what it logs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from structlog.typing import Processor

VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SPARK_CONNECT_AUTHENTICATE_TOKEN", "SHOPLAKE_API_KEY")
ADDRESSES = ("SHOPLAKE_ALERT_WEBHOOK_URL", "SHOPLAKE_SUPERSET_DATABASE_URL")
"""Their user, password, path or parameters may be secret, so that nothing of them is logged."""
_SHORTEST = 4
"""Shorter ones would make half of a log unreadable."""


def secret_words() -> list[str]:
    """The longest first, so that an address goes before its parts."""
    words = {os.environ.get(name, "") for name in (*VARIABLES, *ADDRESSES)}
    words.add(os.environ.get("SHOPLAKE_SPARK_REMOTE", "").partition(";")[2])  # what stands behind the address
    for name in ADDRESSES:
        _, _, rest = os.environ.get(name, "").partition("://")
        login, at, place = rest.rpartition("@")
        password = login.partition(":")[2] if at else ""
        path = urlsplit(f"//{place}")
        words |= {login if at else "", password, unquote(password)}
        if name == "SHOPLAKE_ALERT_WEBHOOK_URL":
            words |= {path.path, path.query}
    return sorted((word for word in words if len(word) >= _SHORTEST), key=len, reverse=True)


def hide(text: str, words: list[str]) -> str:
    """The text without these words."""
    for word in words:
        text = text.replace(word, "***")
    return text


def json_lines(*more: Processor) -> list[Processor]:
    """How structlog writes one JSON object a line, without secrets; `more` see the line before it is written."""
    from structlog import contextvars, processors

    words = secret_words()
    return [
        contextvars.merge_contextvars,
        processors.add_log_level,
        processors.TimeStamper(fmt="iso", utc=True),
        processors.format_exc_info,
        lambda _logger, _method, event: {
            name: hide(value, words) if isinstance(value, str) else value for name, value in event.items()
        },
        *more,
        processors.JSONRenderer(default=str),
    ]
