"""Numbers and moments as people and their programs write them, for fixes: unambiguous texts are read, all others raise
ValueError."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

_NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})", re.ASCII)
"""Three digits behind one comma may be thousands: that has to be declared."""
_GROUPED = re.compile(
    r"[+-]?\d{1,3}(?P<group>[.,' \u00a0\u202f\u2019])((\d{3}|\d\d(?=,))(?P=group))*\d{3}((?P<mark>[.,])\d+)?", re.ASCII
)
"""In India only the last group has three digits: `1,25,000`."""
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}([.' \u00a0\u202f\u2019])\d{3}(\2\d{3})*)(,\d+)?", re.ASCII)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = r"(?P<first>\d{1,4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<last>\d{1,4})"
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(:(?P<second>\d\d)([.,](?P<fraction>\d+))?)?"
_MOMENT = re.compile(rf"{_DATE}(?:[Tt]|,? ){_TIME} ?(?P<zone>[^\[]*)(\[(?P<named>.+)\])?", re.ASCII)
_OFFSET = re.compile(r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>[0-5]\d)?( [A-Z]{2,5})?", re.ASCII)
"""The abbreviation that Go adds (`+0200 CEST`) says nothing new."""
_MAIL_DATE = re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} .+", re.ASCII)
_SCRIPT_DATE = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) (\d{4}) (\d\d:\d\d:\d\d) GMT([+-]\d{4}).*", re.ASCII)
"""As JavaScript writes a date."""
_UNIX_DATE = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d) (UTC|GMT|[+-]\d{4}) (\d{4})", re.ASCII
)
"""As Java and `date` write one."""
_LOGGED_DATE = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})", re.ASCII)
"""As web servers log one."""
_UTC_MARK = re.compile(r" ?(Z|UTC|GMT|[+-]00:?00)\Z", re.ASCII | re.IGNORECASE)
_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
"""From the first number on, a time since 1970 counts this many units per second: in the next larger unit it would lie
beyond the year 5000."""


def plain_number(text: str) -> str:
    """A number as JSON spells it: of `19.90`, `12,50`, `1.234,50`, `1,234.50`, `1,234,567`. `1,234` is ambiguous."""
    text = text.strip()
    if _COMMA.fullmatch(text):
        text = text.replace(",", ".")
    elif found := _GROUPED.fullmatch(text):
        group, mark = found["group"], found["mark"]
        is_sure = mark or group not in ".," or text.count(group) > 1
        text = text.replace(group, "").replace(",", ".") if is_sure and mark != group else text
    return _as_json(text)


def number_with_comma(text: str) -> str:
    """A number as JSON spells it, of a text whose comma marks the decimals: `1.234` is 1234."""
    text = text.strip()
    if not _DECIMAL_COMMA.fullmatch(text):
        raise ValueError("not a number with a decimal comma")
    return _as_json(re.sub(r"[.' \u00a0\u202f\u2019]", "", text).replace(",", "."))


def _as_json(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return str(Decimal(text))


def moment_of(text: str, zone: tzinfo | None) -> str:
    """RFC 3339 in UTC of a number since 1970 (seconds, or smaller units if it is too large) or of a written moment. A
    moment without a zone is in `zone`, without that an error. RFC 3339 stays as it is."""
    text = text.strip()
    if _RFC_3339.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text):
        return _rfc3339(_since_1970(Decimal(text)))
    text = _SCRIPT_DATE.sub(r"Day, \2 \1 \3 \4 \5", _UNIX_DATE.sub(r"Day, \2 \1 \5 \3 \4", text))
    text = _LOGGED_DATE.sub(r"Day, \1 \2 \3 \4 \5", text)
    if _MAIL_DATE.fullmatch(text):
        moment = parsedate_to_datetime(text)
    elif found := _MOMENT.fullmatch(text):
        moment = _written(found, zone)
    else:
        raise ValueError("not a moment")
    if moment.tzinfo is None:
        raise ValueError("the moment states no zone")
    return _rfc3339(moment.astimezone(UTC))


def local_moment(text: str, zone: tzinfo | None) -> str:
    """`moment_of` a local time that was sent as UTC: the mark of UTC does not count."""
    return moment_of(_UTC_MARK.sub("", text.strip()), zone)


def zone_of(name: str) -> tzinfo:
    """A zone by its name, as Europe/Berlin."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is no time zone") from None


def _since_1970(number: Decimal) -> datetime:
    per_second = next((per for least, per in _UNITS if abs(number) >= least), 1)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(number * 1_000_000 / per_second))


def _written(found: re.Match[str], zone: tzinfo | None) -> datetime:
    year, day = found["first"], found["last"]
    if found["mark"] == "." and len(day) == 4:
        year, day = day, year
    if len(year) != 4:
        raise ValueError("the month may come before the day")
    date = f"{year}-{found['month']:>02}-{day:>02}"
    time = f"{found['hour']:>02}:{found['minute']}:{found['second'] or '00'}.{(found['fraction'] or '')[:6]:0<6}"
    return _placed(datetime.fromisoformat(f"{date}T{time}"), _stated(found["zone"] or found["named"]) or zone)


def _stated(text: str | None) -> tzinfo | None:
    """The zone that a text names after a moment; other abbreviations than these are ambiguous."""
    if not text:
        return None
    if text.upper() in ("Z", "UTC", "GMT"):
        return UTC
    if found := _OFFSET.fullmatch(text):
        offset = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
        return timezone(-offset if found["sign"] == "-" else offset)
    return zone_of(text) if "/" in text else zone_of("")


def _placed(local: datetime, zone: tzinfo | None) -> datetime:
    """The moment of a local time. Raises ValueError if a clock change repeated or skipped it."""
    first, second = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise ValueError("clocks were changed then")
    return first


def _rfc3339(moment: datetime) -> str:
    places = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.isoformat(timespec=places).replace("+00:00", "Z")
