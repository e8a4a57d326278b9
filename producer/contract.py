"""The event contract, declared once.

The columns of silver, the JSON Schema, the validity checks, the typed views and the data dictionary all derive from
the declarations below. Adding an optional field is adding one line here, with `since` one more than the newest version
(docs/decisions/schema-change.md): nothing else, and nobody touches a table.
"""

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

MAX_IDENTIFIER_LENGTH = 128
MAX_TEXT_LENGTH = 2048
MAX_QUANTITY = 10_000
MAX_COUNT = 9_007_199_254_740_991
"""The largest whole number up to which every JSON library is exact."""
VISIBLE = "[^\x01-\x20\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
"""Pattern of a character that can be seen: no white space, control, zero-width character or mark of direction. A text
without one is blank. It holds the characters themselves, which every engine reads alike."""
_DAY = (
    "[0-9]{4}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|[0-9]{4}-(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|[0-9]{4}-02-(0[1-9]|1[0-9]|2[0-8])"
    "|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29"
)
TIMESTAMP = (
    rf"^({_DAY})[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""Pattern of an RFC 3339 timestamp of a day that exists; without leap seconds."""
MAX_AMOUNT = 10**12
AMOUNT_DIGITS, AMOUNT_DECIMALS = 28, 9
"""An amount is kept exactly, as decimal(28,9): room for ten million of the largest in a sum of 38 digits. Digits beyond
the ninth decimal place are rounded, half up."""

Place = Literal["envelope", "context", "data"]
Kind = Literal["identifier", "text", "timestamp", "amount", "quantity", "count", "version", "choice", "products"]


@dataclass(frozen=True)
class Field:
    """One field of an event: where it stands, what it may hold, and the silver column it becomes."""

    place: Place
    name: str
    kind: Kind
    description: str
    column: str = ""
    choices: tuple[str, ...] = ()
    since: int = 1
    """Version of the contract that brought the field. Only optional fields may come later than the first."""
    on: tuple[str, ...] = ()
    """Event types whose view shows the field, for one that came later (those of the first version list theirs)."""

    @property
    def path(self) -> str:
        """Dotted path inside the JSON object, as messages name it."""
        return self.name if self.place == "envelope" else f"{self.place}.{self.name}"

    @property
    def silver_column(self) -> str:
        """Name of the silver column."""
        return self.column or self.name


@dataclass(frozen=True)
class EventType:
    """One event type: its topic, and the fields of `data` it knew from the beginning; `required` is a subset."""

    name: str
    topic: str
    description: str
    fields: tuple[str, ...]
    required: tuple[str, ...] = ()


ENVELOPE = (
    Field("envelope", "event_id", "identifier", "Identifies the event; the first accepted record of an id wins."),
    Field("envelope", "event_type", "identifier", "What happened; one of the event types."),
    Field("envelope", "user_id", "identifier", "Who did it; also the Kafka key."),
    Field(
        "envelope", "timestamp", "timestamp", "When it happened, RFC 3339 with any offset; stored as UTC.", "event_time"
    ),
    Field("envelope", "schema_version", "version", "Version of this contract; 1 when missing."),
)
REQUIRED_ENVELOPE = ("event_id", "event_type", "user_id", "timestamp")

CONTEXT = (
    Field("context", "session_id", "identifier", "The visit."),
    Field("context", "device_id", "identifier", "The device."),
    Field("context", "ip", "text", "Network address of the client."),
    Field("context", "country", "text", "Country of the address, ISO 3166-1 alpha-2."),
    Field("context", "user_agent", "text", "Browser identification."),
)

DATA = (
    Field("data", "page_url", "text", "Address of the page."),
    Field("data", "device", "text", "Kind of device: desktop, mobile, tablet."),
    Field("data", "browser", "text", "Browser name."),
    Field("data", "product_id", "identifier", "The product."),
    Field("data", "product_name", "text", "Its name."),
    Field("data", "category", "text", "Its category."),
    Field("data", "price", "amount", "Its unit price."),
    Field("data", "quantity", "quantity", "How many."),
    Field("data", "element", "text", "What was clicked."),
    Field("data", "order_id", "identifier", "The order."),
    Field("data", "total_amount", "amount", "Total of the order, in its currency.", "amount"),
    Field("data", "currency", "text", "ISO 4217 code."),
    Field("data", "payment_method", "text", "How it was paid."),
    Field(
        "data",
        "payment_status",
        "choice",
        "Whether the payment went through; missing counts as approved.",
        choices=("approved", "declined"),
    ),
    Field("data", "card_fingerprint", "identifier", "Stable, anonymous fingerprint of the card."),
    Field("data", "products", "products", "Lines of the order: product_id, quantity, price."),
    Field("data", "query", "text", "What was searched for."),
    Field("data", "results_count", "count", "How many results were shown."),
)

EVENT_TYPES = (
    EventType(
        "page_view",
        "shop.page_views",
        "A page was shown; a product view too when product_id is set.",
        ("page_url", "device", "browser", "product_id", "product_name", "category", "price"),
    ),
    EventType(
        "product_view",
        "shop.page_views",
        "A product's page was shown.",
        ("product_id", "product_name", "category", "price"),
        ("product_id",),
    ),
    EventType("click", "shop.clicks", "Something was clicked.", ("element", "page_url", "product_id")),
    EventType(
        "add_to_cart", "shop.clicks", "A product was put into the cart.", ("product_id", "quantity"), ("product_id",)
    ),
    EventType("add_to_wishlist", "shop.clicks", "A product was remembered.", ("product_id",), ("product_id",)),
    EventType(
        "purchase",
        "shop.purchases",
        "An order was placed.",
        (
            "order_id",
            "total_amount",
            "currency",
            "payment_method",
            "payment_status",
            "card_fingerprint",
            "products",
        ),
        ("order_id", "total_amount"),
    ),
    EventType("search", "shop.searches", "Somebody searched.", ("query", "results_count"), ("query",)),
)

PRODUCT_LINE = (
    Field("data", "product_id", "identifier", "The product."),
    Field("data", "quantity", "quantity", "How many."),
    Field("data", "price", "amount", "Unit price."),
)

FIELDS = (*ENVELOPE, *CONTEXT, *DATA)
"""Every field, in the order of checking."""
CONTRACT_VERSION = max(field.since for field in FIELDS)
"""The newest version: that of the field that came last."""
SUPPORTED_VERSIONS = tuple(range(1, CONTRACT_VERSION + 1))
"""Events may state any of these as their `schema_version`, side by side."""
TOPIC_OF_TYPE = {event_type.name: event_type.topic for event_type in EVENT_TYPES}
DATA_FIELDS = {field.name: field for field in DATA}
"""Fields of `data` by name. A known field may stand on any type and keeps its meaning and its checks there."""


def fields_of(event_type: EventType) -> tuple[Field, ...]:
    """The fields of `data` that belong to a type, those that came later at the end."""
    later = (field for field in DATA if event_type.name in field.on)
    return (*(DATA_FIELDS[name] for name in event_type.fields), *later)


REASONS = {
    "tombstone": "The record has no value (a Kafka tombstone). Send a JSON object.",
    "empty_value": "The value is empty or only white space. Send a JSON object.",
    "too_large": "The value is larger than 1 MiB. Split it, or send less.",
    "schema_registry_prefix": "The value begins with a schema's number or id, as serializers of a schema registry"
    " (Confluent's, Apicurio's, AWS Glue's) write it, not with JSON. Send plain JSON: StringSerializer, or"
    " JsonConverter with schemas.enable=false.",
    "invalid_utf8": "The value is not valid UTF-8. Encode it as UTF-8.",
    "not_json": "The value is not one well-formed JSON value: truncated, duplicate keys, NaN, text after it, too deep,"
    " a number of over 1,000 digits. Send one JSON object as a JSON library writes it.",
    "not_an_object": "The value is JSON but not an object: a list, or an event written as a text in quotes. Send one"
    " event per record, as an object.",
    "missing_field": "A required field is missing, null, or an identifier of white space only. Add it.",
    "wrong_type": "A field has another type than the contract says. Send the type of the data dictionary.",
    "bad_length": "A text is empty where an identifier is needed, or longer than allowed. Shorten it.",
    "bad_text": "A text contains a NUL or half a surrogate pair. Remove it.",
    "out_of_range": "A number is negative, not finite, or beyond its limit. Correct it.",
    "unknown_type": "The event type is not in the contract. Correct it, or add the type to the contract.",
    "wrong_topic": "The event type belongs on another topic. Publish it there.",
    "unknown_version": "This schema_version is not supported. Send a supported one.",
    "bad_timestamp": "The timestamp is not RFC 3339 with an offset, or no such moment exists. Correct it.",
    "bad_kafka_time": "The record's Kafka time is no time at which a record can have been sent: before 2011, or after"
    " 2099. Let the producer set milliseconds, or nothing.",
    "timestamp_in_future": "The timestamp is too far ahead of the record's Kafka time. Set the sender's clock.",
    "timestamp_too_old": "The timestamp is too far behind the record's Kafka time. Set the sender's clock.",
    "wrong_key": "The record's key is there, but is not the event's user_id. Use the user_id as key.",
}
"""Stable reason codes of `silver.quarantine`; where several apply, `silver.checks` says which comes first."""


def declared(name: str, names: Collection[str]) -> str:
    """`name`, which must be one of `names`. Raises ValueError that says which may be meant."""
    if name not in names:
        meant = difflib.get_close_matches(name, names, n=1)
        raise ValueError(f"there is no {name!r}, but {meant[0] if meant else ', '.join(dict.fromkeys(names))}")
    return name


def meaning_and_remedy(code: str) -> tuple[str, str]:
    """What a reason code means, and what to do about it."""
    meaning, _, remedy = REASONS[code].partition(". ")
    return f"{meaning}.", remedy
