"""Writes what the declarations say: `docs/event.schema.json`, `docs/data-dictionary.md`, `docs/quarantine-reasons.md`.

`python -m producer.dictionary` writes them, `python -m producer.dictionary --check` fails when they have drifted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from producer import contract
from producer.contract import Field
from producer.json_schema import SCHEMA_FILE, event_schema
from producer.reasons import REASONS_FILE, reasons_catalogue
from producer.topics import TOPICS

if TYPE_CHECKING:
    from lakehouse.table import Table

ROOT = Path(__file__).resolve().parents[1]
DICTIONARY_FILE = "docs/data-dictionary.md"
_INTRODUCTION = """\
# Data dictionary

Written by `python -m producer.dictionary` from the declarations in `producer/contract.py` and of the tables;
a test fails when they drift. The events are also described by [event.schema.json](event.schema.json).
All times are UTC.
"""
_KINDS = {
    "identifier": f"text, 1–{contract.MAX_IDENTIFIER_LENGTH} characters",
    "text": f"text, up to {contract.MAX_TEXT_LENGTH:,} characters",
    "timestamp": "text, RFC 3339 with an offset",
    "amount": "number, 0 or more",
    "quantity": f"whole number, 1–{contract.MAX_QUANTITY:,}",
    "count": "whole number, 0 or more",
    "version": "whole number, one of " + ", ".join(map(str, contract.SUPPORTED_VERSIONS)),
    "products": "list of lines of `product_id`, `quantity`, `price`",
}


def data_dictionary(tables: Iterable[Table]) -> str:
    """The data dictionary as Markdown: events first, then `tables` in their order."""
    parts = [_INTRODUCTION, _topics(), _event_types(), _fields(), _reasons(), "# Tables"]
    return "\n".join([*parts, *(_table(table) for table in tables)])


def documents() -> dict[str, str]:
    """Every written document by its path in the repository."""
    from lakehouse.catalog import TABLES

    return {
        SCHEMA_FILE: json.dumps(event_schema(), indent=2, ensure_ascii=False) + "\n",
        DICTIONARY_FILE: data_dictionary(TABLES),
        REASONS_FILE: reasons_catalogue(),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or check them; returns the exit code."""
    drifted = []
    for name, text in documents().items():
        path = ROOT / name
        if arguments == ["--check"]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                drifted.append(name)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in drifted:
        print(f"{name} is not what the declarations say; run `python -m producer.dictionary`.", file=sys.stderr)
    return 1 if drifted else 0


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _topics() -> str:
    types = {topic: [t.name for t in contract.EVENT_TYPES if t.topic == topic] for topic in TOPICS}
    rows = [(f"`{topic}`", ", ".join(f"`{name}`" for name in names)) for topic, names in types.items()]
    note = "Key: `user_id` in UTF-8. Value: one JSON object in UTF-8, up to 1 MiB.\n"
    return f"# Events\n\n## Topics\n\n{note}\n" + _markdown_table(("topic", "event types"), rows)


def _event_types() -> str:
    rows = []
    for event_type in contract.EVENT_TYPES:
        known = [field.name for field in contract.fields_of(event_type)]
        names = (f"**{name}**" if name in event_type.required else name for name in known)
        rows.append((f"`{event_type.name}`", event_type.description, ", ".join(names)))
    table = _markdown_table(("type", "what happened", "fields of `data` (bold: required)"), rows)
    return f"## Event types\n\n{table}"


def _fields() -> str:
    rows = [_field_row(field) for field in contract.FIELDS]
    table = _markdown_table(("field", "since", "holds", "meaning", "column of silver.events"), rows)
    note = (
        f"Bold fields are required in every event. The newest version is {contract.CONTRACT_VERSION}; `since` names the"
        " version that brought a field. Unknown extra fields are kept in `extra`, and so is a field that is newer than"
        " the version an event states and does not fit.\n"
    )
    return f"## Fields\n\n{note}\n{table}"


def _field_row(field: Field) -> tuple[str, str, str, str, str]:
    path = f"**{field.path}**" if field.name in contract.REQUIRED_ENVELOPE else field.path
    holds = " or ".join(field.choices) if field.kind == "choice" else _KINDS[field.kind]
    return path, str(field.since), holds, field.description, f"`{field.silver_column}`"


def _reasons() -> str:
    rows = [(f"`{code}`", text) for code, text in contract.REASONS.items()]
    note = "Codes of `silver.quarantine`, in the order of checking: the first that applies decides.\n"
    return f"## Reasons for refusal\n\n{note}\n" + _markdown_table(("code", "meaning and remedy"), rows)


def _table(table: Table) -> str:
    rows = [
        (f"`{column.name}`", column.dataType.simpleString(), str(column.metadata.get("comment", "")))
        for column in table.schema.fields
    ]
    facts = [f"One row is {table.grain}.", f"Key: {', '.join(f'`{key}`' for key in table.keys)}."]
    if table.partition_by:
        facts.append(f"Partitioned by {', '.join(f'`{name}`' for name in table.partition_by)}.")
    return f"\n## {table.full_name}\n\n{' '.join(facts)}\n\n" + _markdown_table(("column", "type", "meaning"), rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
