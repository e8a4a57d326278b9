"""What is wrong with a value, in words that are the same on the command line, over HTTP and about a setting."""

from collections.abc import Mapping
from typing import Any

MOMENT = "it must be a moment with its zone, such as 2026-09-03T10:15:30Z"
_WORDS = {
    "missing": "it is required",
    "extra_forbidden": "there is nothing of that name",
    "value_error": "{error}",
    "literal_error": "it must be {expected}",
    "greater_than_equal": "it must be {ge} or more",
    "greater_than": "it must be more than {gt}",
    "less_than_equal": "it must be {le} or less",
    "string_too_short": "it must have {min_length} characters or more",
    "string_too_long": "it must have {max_length} characters or less",
    "string_pattern_mismatch": "it must look like {pattern}",
    "string": "it must be text",
    "bool": "it must be true or false",
    "int": "it must be a whole number",
    "float": "it must be a number",
    "finite_number": "it must be a number",
    "datetime": MOMENT,
    "timezone": MOMENT,
    "date": "it must be a day, such as 2026-09-03",
    "dict": "it must be an object",
    "model": "it must be an object",
}
"""By the beginning of the name that pydantic has for a fault; the first that fits."""


def in_words(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as the rest of a sentence."""
    words = next((text for kind, text in _WORDS.items() if error["type"].startswith(kind)), "")
    return (words.format_map(error.get("ctx", {})) or str(error["msg"]))[:500]
