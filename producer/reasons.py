"""The catalogue of reasons for refusal, `docs/quarantine-reasons.md`, from the contract and the kinds of defect."""

from __future__ import annotations

from producer.contract import REASONS, TOPIC_OF_TYPE
from producer.simulator.defects import DEFECTS, Defect

REASONS_FILE = "docs/quarantine-reasons.md"
_INTRODUCTION = """\
# Why records are refused

Written by `python -m producer.dictionary` from `producer/contract.py` and the kinds of defect that the simulator
makes; a test fails when they drift. A refused record is kept whole in `silver.quarantine`. The first check that it
fails decides its `reason_code`; `shoplake quarantine explain` lists all that it fails. Codes are stable: they are
added, never renamed. How a record comes back: [quality.md](quality.md).
"""
_MOMENT = 1_788_430_500.0
_EVENT = {
    "event_id": "e1001",
    "event_type": "product_view",
    "user_id": "u5678",
    "timestamp": "2026-09-03T10:15:00.000Z",
    "data": {"product_id": "p9"},
}
_LONGEST_EXAMPLE = 200
_NOT_OF_VALUE = {
    "bad_kafka_time": "Example: any event, in a record whose Kafka time counts seconds and not milliseconds, so that it"
    " lies in January 1970.",
}
"""Reasons that no value makes; its example in words."""


def reasons_catalogue() -> str:
    """The catalogue as Markdown: per code its meaning, what to do, an example, and the known kinds."""
    return "\n".join([_INTRODUCTION, *(_entry(code, text) for code, text in REASONS.items())])


def meaning_and_remedy(code: str) -> tuple[str, str]:
    """What a reason code means, and what to do about it."""
    meaning, _, remedy = REASONS[code].partition(". ")
    return f"{meaning}.", remedy


def _entry(code: str, text: str) -> str:
    meaning, remedy = meaning_and_remedy(code)
    if code in _NOT_OF_VALUE:
        return f"## {code}\n\n{meaning} *{remedy}*\n\n{_NOT_OF_VALUE[code]}\n"
    kinds = [kind for kind in DEFECTS if kind.reason == code]
    names = ", ".join(f"`{kind.name}`" for kind in kinds)
    return f"## {code}\n\n{meaning} *{remedy}*\n\n{_example(kinds[0])}\n\nKinds that are tested: {names}.\n"


def _example(kind: Defect) -> str:
    home = TOPIC_OF_TYPE["product_view"]
    topic = kind.topic(home) if kind.topic else home
    value = kind.make(dict(_EVENT), _MOMENT)
    if not value:
        return f"Example, on `{topic}`: a record {'without a value' if value is None else 'of zero bytes'}."
    shown = value.decode("utf-8", "backslashreplace")
    if len(shown) > _LONGEST_EXAMPLE:
        shown = f"{shown[:_LONGEST_EXAMPLE]} … ({len(value):,} bytes)"
    key = f", with the key `{kind.key.decode()}`" if kind.key else ""
    return f"Example, on `{topic}`{key}:\n\n```\n{shown}\n```"
