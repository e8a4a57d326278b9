"""The meaning of a text: blank is unknown, a country has one spelling, a timestamp is a moment. As Spark's expressions.

Decided in docs/decisions/text.md.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from producer import contract
from producer.contract import Field

_USUAL = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})\z"
_RARE = r"^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)\d*([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)\z"
_COUNTRIES = {"UK": "GB", "EL": "GR"}
"""Codes in use that are not those of ISO 3166-1."""
_KEPT = {
    name
    for event_type in contract.EVENT_TYPES
    for name in event_type.required
    if contract.DATA_FIELDS[name].kind == "text"
}
"""Texts that their event is about: a search for nothing is a search."""


def is_blank(value: Column) -> Column:
    """True for a text without a visible character; null for null."""
    starts_visibly = (value >= "!") & (value < "\x7f")  # true of nearly every text, and cheaper than a pattern
    return ~starts_visibly & ~value.rlike(contract.VISIBLE)


def known(field: Field, value: Column) -> Column:
    """The field's value in silver: null when it is blank, and a country in its one spelling. Ids stay as they are."""
    if field.place == "envelope" or field.kind not in ("identifier", "text") or field.name in _KEPT:
        return value
    found = F.when(~is_blank(value), value)
    return _country(found) if field.name == "country" else found


def _country(value: Column) -> Column:
    trimmed = F.trim(value)
    is_code = (F.length(trimmed) == 2) & (F.octet_length(trimmed) == 2)
    code = F.upper(trimmed)
    spelled = F.coalesce(*(F.when(code == other, F.lit(iso)) for other, iso in _COUNTRIES.items()), code)
    return F.when(is_code, spelled).otherwise(value)


def moment(text: Column) -> Column:
    """The moment of an RFC 3339 text, to the microsecond; null when it is none."""
    usual = F.when(text.rlike(_USUAL), F.upper(text).try_cast("timestamp"))
    return F.coalesce(usual, F.when(text.rlike(_RARE), _rare_moment(text)))


def _rare_moment(text: Column) -> Column:
    """For what Spark's cast does not take: more than nine digits of a second, an offset beyond eighteen hours."""
    day, time, zone = (F.regexp_extract(text, _RARE, group) for group in (1, 2, 3))
    local = F.concat(day, F.lit("T"), time, F.lit("Z")).try_cast("timestamp")
    minutes = F.substring(zone, 2, 2).try_cast("int") * 60 + F.substring(zone, 5, 2).try_cast("int")
    ahead = F.when(zone.startswith("-"), -minutes).otherwise(minutes)
    return F.timestamp_add("MINUTE", -F.coalesce(ahead, F.lit(0)), local)
