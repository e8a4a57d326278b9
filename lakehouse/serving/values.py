"""What the raw value of a record carries, as SQL: refused records and duplicates are known by nothing else."""

from __future__ import annotations

from lakehouse.sql_text import quoted_text

TEXT = "decode(value, 'replace')"
"""The value as text, whatever its bytes are."""


def carries(field: str, wanted: str) -> str:
    """Whether `wanted` is the event's `field`; of a value that is no JSON, whether it stands there in quotes."""
    given, quoted = quoted_text(wanted), quoted_text(f'"{wanted}"')
    # Looking for the plain text sorts out nearly all; JSON may also write any character by an escape.
    may_be = f"(contains({TEXT}, {given}) OR contains({TEXT}, '\\'))"
    return (
        f"({may_be} AND CASE WHEN json_valid({TEXT}) THEN json_extract_string({TEXT}, '$.{field}') = {given}"
        f" ELSE contains({TEXT}, {quoted}) END)"
    )


def field_of(field: str) -> str:
    """The text of an event's `field`; NULL where the value is no JSON."""
    return f"CASE WHEN json_valid({TEXT}) THEN json_extract_string({TEXT}, '$.{field}') END"
