"""Values and names as text of SQL."""

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """A moment as text for TIMESTAMPTZ; one without a zone is UTC, as Spark's sessions here give it."""
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).isoformat()


def quoted_text(value: str) -> str:
    """The value as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def quoted_name(value: str) -> str:
    """The name as an identifier of SQL."""
    return '"' + value.replace('"', '""') + '"'
