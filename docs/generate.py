"""Writes what documents repeat from the code: `python -m docs.generate`; a test names those that have drifted.

These are whole files, and in other pages what is between `<!-- made: … -->` and `<!-- end -->`.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

from api import openapi
from api.app import create_app
from deploy.aws import catalogue
from gold.products import VIEW as PRODUCTS
from lakehouse.catalog import TABLES
from lakehouse.cli import app
from lakehouse.monitoring.rules import RULES, Rule
from lakehouse.runs.registry import RunRegistry
from lakehouse.settings import Settings, load_settings
from lakehouse.table import Extract, Table
from producer import contract
from producer.contract import Field
from producer.json_schema import event_schema
from producer.simulator.defects import DEFECTS, Defect
from producer.topics import TOPICS
from silver.purchase_lines import VIEW as LINES
from silver.views import View

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PARTLY = ("docs/reference/alerts.md", "docs/explanation/fault-tolerance.md", "docs/explanation/scaling.md")
NOTE = "Made by `python -m docs.generate` from"
_BLOCK = re.compile(r"(<!-- made: (\w+)(?: \"([^\"\n]+)\")? -->\n).*?(?=<!-- end -->)", re.DOTALL)
_KINDS = {
    "identifier": f"text, 1–{contract.MAX_IDENTIFIER_LENGTH} characters",
    "text": f"text, up to {contract.MAX_TEXT_LENGTH:,} characters",
    "timestamp": "text, RFC 3339 with an offset",
    "amount": f"number from 0 to {contract.MAX_AMOUNT:,}; nine decimal places are kept",
    "quantity": f"whole number, 1–{contract.MAX_QUANTITY:,}",
    "count": f"whole number, 0–{contract.MAX_COUNT:,}",
    "version": "whole number, one of " + ", ".join(map(str, contract.SUPPORTED_VERSIONS)),
    "products": "list of lines of `product_id`, `quantity`, `price`",
}
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


def documents() -> dict[str, str]:
    """Every document that is made, whole or in part, as it should be; by its path."""
    api = json.dumps(api_document(), indent=1, sort_keys=True, ensure_ascii=False)
    return {
        ".env.example": env_example(),
        "api/openapi.json": api + "\n",
        "deploy/aws/templates/catalogue.yaml": catalogue.template(TABLES),
        "docs/reference/api.md": api_page(json.loads(api)),
        "docs/reference/commands.md": commands_page(),
        "docs/reference/data-dictionary.md": dictionary_page(),
        "docs/event.schema.json": json.dumps(event_schema(), indent=2) + "\n",
        "docs/reference/quarantine-reasons.md": reasons_page(),
        "docs/reference/settings.md": settings_page(),
        **{name: with_blocks((ROOT / name).read_text(encoding="utf-8")) for name in PARTLY},
    }


def drifted() -> list[str]:
    """The documents that do not say what the code says."""
    return [name for name, text in documents().items() if (ROOT / name).read_text(encoding="utf-8") != text]


def env_example() -> str:
    """Every setting with its default, as a file that can be copied to `.env`."""
    lines = [
        "# Every setting with its default. Copy to .env and uncomment what you change; the environment wins over it.",
        f"# {NOTE} lakehouse/settings.py.",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        lines += ["", f"# {field.description}", f"#SHOPLAKE_{name.upper()}={default}"]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Every setting with its default and meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        rows.append((f"`SHOPLAKE_{name.upper()}`", default, str(field.description)))
    note = f"""{NOTE} lakehouse/settings.py. Environment variables, or a `.env` file as `.env.example` shows.
Every command says which `SHOPLAKE_` names it finds that are no setting."""
    return f"# Settings\n\n{note}\n\n{table(('setting', 'default', 'meaning'), rows)}"


def commands_page() -> str:
    """Every command with its options, as `--help` tells them."""
    group = typer.main.get_command(app)
    text = get_docs_for_click(obj=group, ctx=typer.Context(group, info_name="shoplake"), name="shoplake")
    body = re.sub(r"\[bold\](.*?)\[/\]", r"`\1`", text.partition("\n")[2].strip(), flags=re.DOTALL)
    body = body[body.index("## `shoplake up`") :]  # before it: all commands once more, cut off
    # Said once instead of with each command: that there is --help, how options are written, and a group's commands.
    usage, listed = r"\*\*Usage\*\*:\n\n```console\n.*\n```\n\n", r"\n\*\*Commands\*\*:\n\n(\* .*\n)+"
    for said in (r"\* `--help`: Show this message and exit\.\n", usage, listed):
        body = re.sub(said, "", body)
    body = re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", body)
    return f"# Commands\n\n{NOTE} lakehouse/cli. Every command has `--help`.\n\n{body}\n"


def api_document() -> dict[str, Any]:
    """The OpenAPI document of the API as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), database_url=None)
        return openapi.document(create_app(settings, RunRegistry(settings)))


def api_page(made: dict[str, Any]) -> str:
    """The OpenAPI document as a page: every address, what it does, and the scope it needs."""
    lines = [
        f"# HTTP API\n\n{NOTE} the API's OpenAPI document (`api/openapi.json`). The API serves it at",
        "`/openapi.json`, and a page to try it at `/docs`. How to use it: [Trigger a job](../how-to/trigger-a-job.md),",
        "[Gold over HTTP](../how-to/gold-api.md), [Trace](../how-to/trace.md).",
        "Errors are `application/problem+json`; `type` leads to help.",
        "",
    ]
    for tag in openapi.TAGS:
        rows = [
            _operation(method, path, operation)
            for path, operations in made["paths"].items()
            for method, operation in operations.items()
            if tag["name"] in operation["tags"]
        ]
        lines += [f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        lines.append(table(("request", "does", "scope", "parameters"), rows))
    return "\n".join(lines)


def _operation(method: str, path: str, operation: dict[str, Any]) -> tuple[str, str, str, str]:
    scopes = sorted({scope for one in operation.get("security", []) for names in one.values() for scope in names})
    named = [f"`{one['name']}`" for one in operation.get("parameters", []) if one["in"] == "query"]
    needed = ", ".join(f"`{scope}`" for scope in scopes) or "none"
    return f"`{method.upper()} {path}`", operation["summary"], needed, ", ".join(named) or "–"


def dictionary_page() -> str:
    """Events first, then the tables in the order of the data's way."""
    note = f"""{NOTE} `producer/contract.py` and the declarations of the tables.
Also: [event.schema.json](../event.schema.json), [reasons for refusal](quarantine-reasons.md). All times are UTC.
"""
    parts = ["# Data dictionary\n", note, _topics(), _event_types(), _fields(), "# Tables"]
    return "\n".join([*parts, *map(_table_of, TABLES), "\n# Views", *map(_view_of, (LINES, PRODUCTS))])


def _topics() -> str:
    types = {topic: [t.name for t in contract.EVENT_TYPES if t.topic == topic] for topic in TOPICS}
    rows = [(f"`{topic}`", ", ".join(f"`{name}`" for name in names)) for topic, names in types.items()]
    note = "Key: `user_id` in UTF-8. Value: one JSON object in UTF-8, up to 1 MiB.\n"
    return f"# Events\n\n## Topics\n\n{note}\n{table(('topic', 'event types'), rows)}"


def _event_types() -> str:
    rows = []
    for one in contract.EVENT_TYPES:
        names = (f"**{field.name}**" if field.name in one.required else field.name for field in contract.fields_of(one))
        rows.append((f"`{one.name}`", one.description, ", ".join(names)))
    return f"## Event types\n\n{table(('type', 'what happened', 'fields of `data` (bold: required)'), rows)}"


def _fields() -> str:
    note = (
        f"Bold fields are required. The newest version is {contract.CONTRACT_VERSION}; `since` names a field's first"
        " version. `extra` keeps unknown fields, and fields that are newer than the event's version and do not fit. A"
        " whole number may be written `2.0`. Blank text and identifiers (white space, other invisible characters)"
        " are null in silver; a required identifier is then missing. A country of two letters is stored in capitals."
        " Ids are kept byte for byte ([decided](../decisions/text.md)).\n"
    )
    header = ("field", "since", "holds", "meaning", "column of silver.events")
    return f"## Fields\n\n{note}\n{table(header, map(_field, contract.FIELDS))}"


def _field(field: Field) -> tuple[str, str, str, str, str]:
    path = f"**{field.path}**" if field.name in contract.REQUIRED_ENVELOPE else field.path
    holds = " or ".join(field.choices) if field.kind == "choice" else _KINDS[field.kind]
    return path, str(field.since), holds, field.description, f"`{field.silver_column}`"


def _table_of(declared: Table) -> str:
    rows = [
        (f"`{column.name}`", column.dataType.simpleString(), str(column.metadata.get("comment", "")))
        for column in declared.schema.fields
    ]
    facts = [f"One row is {declared.grain}.", f"Key: {', '.join(f'`{key}`' for key in declared.keys)}."]
    if declared.partition_by:
        facts.append(f"Partitioned by {', '.join(f'`{name}`' for name in declared.partition_by)}.")
    served = declared.served
    shown = f"served as `{served.name}`" if isinstance(served, Extract) else "served" if served else "not served"
    who = "the stream" if declared.fed == "live" else "jobs"
    facts.append(f"Written by {who}; rows are {declared.rows}; {shown}; old files stay {declared.keep_hours:g} hours.")
    return f"\n## {declared.full_name}\n\n{' '.join(facts)}\n\n{table(('column', 'type', 'meaning'), rows)}"


def _view_of(view: View) -> str:
    rows = [(f"`{name}`", meaning) for name, meaning in view.columns.items()]
    return f"\n## {view.full_name}\n\nOne row is {view.grain}.\n\n{table(('column', 'meaning'), rows)}"


def reasons_page() -> str:
    """Why records are refused: per code its meaning, remedy, an example, and the tested kinds."""
    note = f"""{NOTE} `producer/contract.py` and the kinds of defect that the simulator makes.
`silver.quarantine` keeps a refused record in full. Its `reason_code` names the first check that it failed;
`shoplake quarantine explain` lists all. Codes are added, never renamed.
[How a record comes back](../how-to/quality.md#replay-refused-records).
"""
    return "\n".join(["# Why records are refused\n", note, *map(_reason, contract.REASONS)])


def _reason(code: str) -> str:
    meaning, remedy = contract.meaning_and_remedy(code)
    if code in _NOT_OF_VALUE:
        return f"## {code}\n\n{meaning} *{remedy}*\n\n{_NOT_OF_VALUE[code]}\n"
    kinds = [kind for kind in DEFECTS if kind.reason == code]
    names = ", ".join(f"`{kind.name}`" for kind in kinds)
    return f"## {code}\n\n{meaning} *{remedy}*\n\n{_example(kinds[0])}\n\nKinds that are tested: {names}.\n"


def _example(kind: Defect) -> str:
    home = contract.TOPIC_OF_TYPE["product_view"]
    topic = kind.topic(home) if kind.topic else home
    value = kind.make(dict(_EVENT), _MOMENT)
    if not value:
        return f"Example, on `{topic}`: a record {'without a value' if value is None else 'of zero bytes'}."
    shown = value.decode("utf-8", "backslashreplace").replace("\0", r"\x00")
    if len(shown) > _LONGEST_EXAMPLE:
        shown = f"{shown[:_LONGEST_EXAMPLE]} … ({len(value):,} bytes)"
    key = f", with the key `{kind.key.decode()}`" if kind.key else ""
    return f"Example, on `{topic}`{key}:\n\n```\n{shown}\n```"


def with_blocks(page: str) -> str:
    """A page with what stands between `<!-- made: … -->` and `<!-- end -->` made anew."""
    return _BLOCK.sub(
        lambda found: f"{found[1]}\n{alerts() if found[2] == 'alerts' else measured(found[2], found[3])}\n", page
    )


def alerts() -> str:
    """Every rule of the alerts."""
    return table(("alert", "severity", "fires when", "for", "means", "what to do"), map(_alert, RULES))


def _alert(rule: Rule) -> tuple[str, ...]:
    limit = f"`SHOPLAKE_{rule.limit.upper()}`" if isinstance(rule.limit, str) else f"{rule.limit:g}"
    holds = f"{rule.holds_seconds:g} s" if rule.holds_seconds else "at once"
    figure = re.sub(r"_seconds$", ", in seconds,", rule.figure).replace("_", " ")
    return f"`{rule.name}`", rule.severity, f"{figure} > {limit}", holds, rule.means, rule.what_to_do


def measured(benchmark: str, only: str | None = None) -> str:
    """The figures of a file in benchmarks/results, or one of them, with the command that measures them again."""
    report = json.loads((RESULTS / f"{benchmark}.json").read_text())
    figures = [one for one in report["figures"] if only in (None, one["name"])]
    when, machine = report["measured_at"][:10], report["machine"]
    note = f"`{report['command']}`, {when}, {machine['cores']} cores and {machine['memory_gb']} GB:"
    if all(": " in one["name"] for one in figures):
        return f"{note}\n\n{_side_by_side(figures)}"
    rows = [(one["name"], f"{one['value']:,.{0 if one['value'] >= 10 else 1}f} {one['unit']}") for one in figures]
    return f"{note}\n\n{table(('figure', 'value'), rows)}"


def _side_by_side(figures: Iterable[dict[str, Any]]) -> str:
    """Figures that are named `<system>: <figure>`, with a column for each system."""
    rows: dict[str, dict[str, str]] = {}
    for one in figures:
        system, _, name = one["name"].partition(": ")
        digits = 0 if one["value"] >= 10 else 2
        rows.setdefault(f"{name}, {one['unit']}", {})[system] = f"{one['value']:,.{digits}f}"
    systems = list(dict.fromkeys(system for values in rows.values() for system in values))
    cells = ((name, *(values.get(system, "") for system in systems)) for name, values in rows.items())
    return table(("figure", *systems), cells)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> None:
    """Write all of them."""
    for name, text in documents().items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
