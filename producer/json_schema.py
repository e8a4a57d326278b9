"""The event contract as JSON Schema (draft 2020-12), for producers in other languages.

It accepts the events that silver accepts, and refuses the others, but for what a schema cannot say: the topic, the key,
times relative to the Kafka record, a name that comes twice, and NUL or half surrogates in texts. A timestamp is a
pattern, not a `format`, which most validators do not look at.
"""

from typing import Any

from producer import contract
from producer.contract import EventType, Field

Schema = dict[str, Any]


def event_schema() -> Schema:
    """The schema of one event."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:shoplake:event:{contract.CONTRACT_VERSION}",
        "title": "Shoplake event",
        "description": "One event of a shop; unknown extra fields are allowed and kept.",
        "type": "object",
        "required": list(contract.REQUIRED_ENVELOPE),
        "properties": {
            **{field.name: _envelope_field(field) for field in contract.ENVELOPE},
            "context": _object_or_null(contract.CONTEXT, "Where the event came from; optional as every field in it."),
            "data": _object_or_null(contract.DATA, "What happened, by event type."),
        },
        "allOf": [_by_type(event_type) for event_type in contract.EVENT_TYPES if event_type.required],
    }


def _envelope_field(field: Field) -> Schema:
    if field.name == "event_type":
        names = [event_type.name for event_type in contract.EVENT_TYPES]
        return {"enum": names, "description": field.description}
    schema = field_schema(field)
    if field.name not in contract.REQUIRED_ENVELOPE:
        return _or_null(schema)
    return schema | {"pattern": contract.VISIBLE} if field.kind == "identifier" else schema


def field_schema(field: Field) -> Schema:
    """The schema of a field that is there and not null."""
    if field.kind == "products":
        properties = {each.name: _or_null(field_schema(each)) for each in contract.PRODUCT_LINE}
        line = {"type": "object", "properties": properties}
        return {"type": "array", "items": line, "description": field.description}
    limits: dict[str, Schema] = {
        "identifier": {"type": "string", "minLength": 1, "maxLength": contract.MAX_IDENTIFIER_LENGTH},
        "text": {"type": "string", "maxLength": contract.MAX_TEXT_LENGTH},
        # In some engines `$` is before a line feed at the end, too.
        "timestamp": {"type": "string", "pattern": contract.TIMESTAMP, "not": {"pattern": "\n"}},
        "amount": {"type": "number", "minimum": 0, "maximum": contract.MAX_AMOUNT},
        "quantity": {"type": "integer", "minimum": 1, "maximum": contract.MAX_QUANTITY},
        "count": {"type": "integer", "minimum": 0, "maximum": contract.MAX_COUNT},
        "version": {"enum": list(contract.SUPPORTED_VERSIONS)},
        "choice": {"enum": list(field.choices)},
    }
    return {**limits[field.kind], "description": field.description}


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def _object_or_null(fields: tuple[Field, ...], description: str) -> Schema:
    properties = {field.name: _or_null(field_schema(field)) for field in fields}
    return {"type": ["object", "null"], "properties": properties, "description": description}


def _by_type(event_type: EventType) -> Schema:
    """What one type demands of `data`, beyond the fields' own limits."""
    present = {name: _present(contract.DATA_FIELDS[name]) for name in event_type.required}
    data = {"type": "object", "required": list(event_type.required), "properties": present}
    return {
        "if": {"required": ["event_type"], "properties": {"event_type": {"const": event_type.name}}},
        "then": {"required": ["data"], "properties": {"data": data}},
    }


def _present(field: Field) -> Schema:
    there: Schema = {"not": {"type": "null"}}
    return there | {"pattern": contract.VISIBLE} if field.kind == "identifier" else there
