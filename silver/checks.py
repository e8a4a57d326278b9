"""From raw records to typed columns and a reason for refusal, all in Spark's own expressions.

A value is parsed once into a VARIANT, which keeps the JSON types, so `"5"` and `5` stay apart. Nothing here
can throw: a value that cannot be read becomes a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from producer import contract
from producer.contract import Field
from silver import fast_checks
from silver.events import AMOUNT, PRODUCT_LINES
from silver.text import is_blank, known, moment

MAX_VALUE_BYTES = 1024 * 1024
_NUL = r"(?<!\\)(?:\\\\)*+\\u0000|\x00"
_PLACES: dict[str, Sequence[Field]] = {
    "envelope": contract.ENVELOPE,
    "context": contract.CONTEXT,
    "data": contract.DATA,
}
_PATHS = {"envelope": "$", "context": "$.context", "data": "$.data"}
_LATER = tuple(field for field in contract.FIELDS if field.since > 1)
_READ_AS = {"amount": AMOUNT.simpleString(), "quantity": "bigint", "count": "bigint", "version": "bigint"}
_INTEGERS = ("quantity", "count", "version")
_MAP = "map<string,variant>"


@dataclass(frozen=True)
class Limits:
    """How far an event's time may be from its Kafka record's time."""

    max_future_minutes: int = 5
    max_age_days: int = 400


def judge(records: DataFrame, limits: Limits | None = None) -> DataFrame:
    """Bronze rows with the silver columns added, and `reason_code`/`reason_detail` (null: valid).

    Grain: one bronze record. Columns of a refused record may be null; `event_time` is UTC. Records that
    `silver.fast_checks` accepts are done; all others take the slow path below.
    """
    limits = limits or Limits()
    times = timedelta(minutes=limits.max_future_minutes), timedelta(days=limits.max_age_days)
    is_left = F.col("_fast").isNull()
    typed = _typed(_of_its_version(_opened(_parsed(fast_checks.tried(records, *times), is_left))))
    columns = {field.silver_column: F.coalesce(fast_checks.column(field), _column(field)) for field in contract.FIELDS}
    reason = F.when(is_left, F.coalesce(*_reasons(limits)))
    judged = typed.select("*", reason.alias("_reason"))
    return judged.select(
        *records.columns,
        *(column.alias(name) for name, column in columns.items()),
        F.to_date(columns["event_time"]).alias("event_date"),
        F.when(is_left, _extra()).alias("extra"),
        F.col("_reason.code").alias("reason_code"),
        F.col("_reason.detail").alias("reason_detail"),
    )


def violations(records: DataFrame, limits: Limits | None = None) -> DataFrame:
    """`records` with `violations`: every check that fails, as an array of (code, detail) in the order of checking.

    For a person who asks about a few records; `judge`, which every event passes, stops at the first.
    """
    typed = _typed(_of_its_version(_opened(_parsed(records))))
    found = F.array_compact(F.array(*_reasons(limits or Limits())))
    # A value that is no object lacks every field: listing them all would say nothing.
    listed = F.when(_is_object(), found).otherwise(F.slice(found, 1, 1))
    return typed.select(*records.columns, listed.alias("violations"))


def _parsed(records: DataFrame, is_left: Column | None = None) -> DataFrame:
    """Add `_text` and `_json`, of the records that are left or of all. The text is parsed as the first of two array
    elements, the second being its hash: so text after the first JSON value, which the parser ignores, is noticed."""
    is_read = F.octet_length("value") <= MAX_VALUE_BYTES
    text = F.when(is_read if is_left is None else is_left & is_read, F.col("value").cast("string"))
    with_text = records.select("*", F.when(F.is_valid_utf8(text), text).alias("_text"))
    guard = F.xxhash64("_text").cast("string")
    wrapped = F.try_parse_json(F.concat(F.lit("["), F.col("_text"), F.lit(","), guard, F.lit("]")))
    with_json = with_text.select("*", wrapped.alias("_wrapped"))
    is_whole = F.try_variant_get("_wrapped", "$[1]", "bigint") == F.xxhash64("_text")
    event = F.when(is_whole, F.try_variant_get("_wrapped", "$[0]", "variant"))
    return with_json.select("*", event.alias("_json")).drop("_wrapped")


def _opened(parsed: DataFrame) -> DataFrame:
    """Add `_shape`, the event's fields with their JSON types as text, and per place (envelope, context, data) its
    fields read as a struct; as a map, too, where the shape is not one that the contract describes.

    Nearly all events have a usual shape. Checking it once is several times as fast as checking the maps' fields.
    """
    structs = [F.try_variant_get("_json", path, _struct(place)).alias(f"_{place}") for place, path in _PATHS.items()]
    read = parsed.select("*", F.schema_of_variant("_json").alias("_shape"), *structs)
    is_unusual = ~F.col("_shape").rlike(_usual_shape())
    for field in _LATER:  # one that does not fit may have to stay in `extra`: that takes the maps
        is_outside = _is_outside(field, F.col(f"_{field.place}.{field.name}"))
        is_unusual = is_unusual | F.coalesce(is_outside, F.lit(False))
    maps = [
        F.when(is_unusual, F.try_variant_get("_json", path, _MAP)).alias(f"_{place}_map")
        for place, path in _PATHS.items()
    ]
    return read.select("*", *maps)


def _usual_shape() -> str:
    """A pattern for `schema_of_variant` of an event in which every field is known and has its type, or is null.

    Spark writes the fields of an object in alphabetical order, and quotes every name that is not a plain word.
    """
    number = r"(?:BIGINT|DECIMAL\(1?\d,\d\))"  # more digits may not fit the column: that takes the maps
    types = {"amount": number, "quantity": "BIGINT", "count": "BIGINT", "version": "BIGINT"}

    def shape_of(fields: Sequence[Field], **nested: str) -> str:
        shapes = {field.name: types.get(field.kind, "STRING") for field in fields} | nested
        listed = (f"(?:{name}: (?:{shapes[name]}|VOID)(?:, |(?=>)))?+" for name in sorted(shapes))
        return f"OBJECT<{''.join(listed)}>"

    lines = f"ARRAY<{shape_of(contract.PRODUCT_LINE)}>"
    data = shape_of(contract.DATA, products=lines)
    return rf"^{shape_of(contract.ENVELOPE, context=shape_of(contract.CONTEXT), data=data)}\z"


def _struct(place: str) -> str:
    fields = [field for field in _PLACES[place] if field.kind != "products"]
    columns = [f"{field.name}:{_READ_AS.get(field.kind, 'string')}" for field in fields]
    return f"struct<{','.join(columns)}>"


def _of_its_version(opened: DataFrame) -> DataFrame:
    """Add, per field newer than the first version, whether it is read from this event, and per place the others.

    A field is read if the event states its version or a newer one, or if it fits. Otherwise it stays in `extra`, as
    before: what was accepted once is never refused because the contract has grown.
    """
    stated = F.coalesce("_envelope.schema_version", F.lit(1))
    read = [((stated >= field.since) | _fits(field)).alias(_reads(field)) for field in _LATER]
    left = [_left(place).alias(f"_left_in_{place}") for place in _PLACES if _later_in(place)]
    return opened.select("*", *read).select("*", *left) if read else opened


def _later_in(place: str) -> list[Field]:
    return [field for field in _LATER if field.place == place]


def _left(place: str) -> Column:
    """Names of the fields that are not read: almost always none, so that case must be fast."""
    is_all_read, names = F.lit(True), []
    for field in _later_in(place):
        is_all_read = is_all_read & F.col(_reads(field))
        names.append(F.when(~F.col(_reads(field)), F.lit(field.name)))
    nothing = F.array().cast("array<string>")
    return F.when(is_all_read, nothing).otherwise(F.array_compact(F.array(*names)))


def _reads(field: Field) -> str:
    return f"_reads_{field.silver_column}"


def _fits(field: Field) -> Column:
    found = F.col(f"_{field.place}_map").getItem(field.name)
    is_outside = _is_outside(field, F.col(f"_{field.place}.{field.name}")) | _is_beyond(field)
    is_right = found.isNull() | F.is_variant_null(found) | (_is_of_kind(field, found) & ~is_outside)
    return F.coalesce(is_right, F.lit(True))


def _typed(opened: DataFrame) -> DataFrame:
    """Add the event's time and its product lines."""
    lines = F.try_variant_get("_json", "$.data.products", "array<variant>")
    has_lines = F.col("_shape").contains("products: ")
    return opened.select(
        "*",
        moment(F.col("_envelope.timestamp")).alias("_time"),
        F.when(has_lines, lines).alias("_lines"),
    )


def _read(field: Field) -> Column:
    value = F.col(f"_{field.place}.{field.name}")
    return F.when(F.col(_reads(field)), value) if field in _LATER else value


def _column(field: Field) -> Column:
    match field.kind:
        case "products":
            lines = F.transform(F.col("_lines").cast("variant").try_cast(PRODUCT_LINES), _line)
            return F.when(F.col("_lines").isNotNull(), lines)
        case "timestamp":
            return F.col("_time")
        case "version":
            return F.coalesce(_read(field).try_cast("int"), F.lit(1))
        case "quantity":
            return _read(field).try_cast("int")
    return known(field, _read(field))


def _line(line: Column) -> Column:
    return line.withField("product_id", known(contract.PRODUCT_LINE[0], line["product_id"]))


def _type_name(value: Column) -> Column:
    """JSON type of a VARIANT as Spark names it: STRING, BIGINT, DECIMAL(p,s), DOUBLE, BOOLEAN, VOID (null), …"""
    return F.schema_of_variant(value)


def _is_number(type_name: Column) -> Column:
    return type_name.startswith("DECIMAL") | type_name.isin("BIGINT", "DOUBLE")


def _is_whole(value: Column) -> Column:
    """True for a whole number of up to 64 bits, also one written as `2.0` or `2e0`."""
    read_as = {kind: F.try_variant_get(value, "$", kind) for kind in ("bigint", "double")}
    is_same = _is_number(_type_name(value)) & (read_as["bigint"].cast("double") == read_as["double"])
    return (_type_name(value) == "BIGINT") | F.coalesce(is_same, F.lit(False))


def _is_of_kind(field: Field, value: Column) -> Column:
    """True for a value whose JSON type the field allows."""
    if field.kind in _INTEGERS:
        return _is_whole(value)
    return _is_number(_type_name(value)) if field.kind == "amount" else _type_name(value) == "STRING"


def _wrongly_typed(place: str) -> Column:
    """The fields of `place` whose JSON type is not the contract's, as a map name → value."""
    amounts = [field.name for field in _PLACES[place] if field.kind == "amount"]
    integers = [field.name for field in _PLACES[place] if field.kind in _INTEGERS]
    texts = [f.name for f in _PLACES[place] if f.kind in ("identifier", "text", "timestamp", "choice")]
    left = F.col(f"_left_in_{place}")

    def is_wrong(name: Column, value: Column) -> Column:
        found = _type_name(value)
        is_right = F.when(name.isin(texts), found == "STRING")
        if integers:
            is_right = is_right.when(name.isin(integers), _is_whole(value))
        if amounts:
            is_right = is_right.when(name.isin(amounts), _is_number(found))
        is_other = ~is_right.otherwise(True) & ~F.is_variant_null(value)
        return is_other & ~F.array_contains(left, name) if _later_in(place) else is_other

    return F.map_filter(F.col(f"_{place}_map"), is_wrong)


def _extra() -> Column:
    """Fields that the contract does not know, as JSON text in the shape they came. Each part is in the plan once."""
    parts = F.array(
        F.regexp_replace(F.to_json(_unknown("envelope", "context", "data")), r"^\{|\}$", ""),
        F.concat(F.lit('"context":'), F.to_json(_unknown("context"))),
        F.concat(F.lit('"data":'), F.to_json(_unknown("data", or_products=True))),
    )
    nothing = F.array(*map(F.lit, ("", '"context":{}', '"data":{}')))
    found = F.array(F.array_join(F.array_except(parts, nothing), ","))
    return F.transform(found, lambda text: F.when(text != "", F.concat(F.lit("{"), text, F.lit("}"))))[0]


def _unknown(place: str, *also_known: str, or_products: bool = False) -> Column:
    """The fields of a place that are not in the contract; with the order's lines as they came, if one has such."""
    known = [*(field.name for field in _PLACES[place]), *also_known]
    has_more, left = F.coalesce(F.exists("_lines", _has_unknown), F.lit(False)), F.col(f"_left_in_{place}")

    def is_unknown(name: Column, _: Column) -> Column:
        is_kept = ~name.isin(known) | ((name == "products") & has_more) if or_products else ~name.isin(known)
        return is_kept | F.array_contains(left, name) if _later_in(place) else is_kept

    return F.map_filter(F.col(f"_{place}_map"), is_unknown)


def _has_unknown(line: Column) -> Column:
    names = F.map_keys(F.try_variant_get(line, "$", _MAP))
    return F.size(F.array_except(names, F.array(*(F.lit(field.name) for field in contract.PRODUCT_LINE)))) > 0


def _refuse(code: str, condition: Column, detail: Column | str) -> Column:
    text = F.lit(detail) if isinstance(detail, str) else detail
    return F.when(condition, F.struct(F.lit(code).alias("code"), text.alias("detail")))


def _said(*parts: Column | str) -> Column:
    texts = [F.lit(part) if isinstance(part, str) else F.coalesce(part.cast("string"), F.lit("?")) for part in parts]
    return F.concat(*texts)


def _reasons(limits: Limits) -> list[Column]:
    """One expression per check, null when it passes; the first that is not null decides."""
    return [
        *_whole_value_reasons(),
        *(_not_an_object(place) for place in ("context", "data")),
        *(_wrong_type(place) for place in _PLACES),
        *(_missing(name, F.col(f"_envelope.{name}").isNull()) for name in contract.REQUIRED_ENVELOPE),
        *(_blank(name, F.col(f"_envelope.{name}"), F.lit(True)) for name in ("event_id", "user_id")),
        *(reason for field in contract.FIELDS for reason in _field_reasons(field)),
        *_type_reasons(),
        *_time_reasons(limits),
        _refuse("wrong_key", F.col("key") != F.encode("_envelope.user_id", "UTF-8"), "the key is not the user_id"),
    ]


def _whole_value_reasons() -> list[Column]:
    is_empty = F.trim(F.regexp_replace("_text", r"\s", "")) == ""
    is_broken = F.col("_json").isNull()
    # The pattern is slow; a search for the plain text shows that it has nothing to find.
    may_have_nul = F.col("_text").contains(r"\u0000") | F.col("_text").contains("\0")
    has_nul = may_have_nul & F.col("_text").rlike(_NUL)
    start = F.substring("_text", 1, 80)
    has_number = is_broken & F.expr("octet_length(value) >= 5 AND substring(value, 1, 1) = X'00'")
    has_id = is_broken & F.expr("octet_length(value) >= 18 AND substring(value, 1, 2) IN (X'0300', X'0305')")
    # Four bytes, or eight in Apicurio's registry; no number is 0.
    number = "substring(value, 2, if(substring(value, 2, 4) = X'00000000', 8, 4))"
    schema = F.expr(f"conv(hex({number}), 16, 10)")
    glue = F.lower(F.hex(F.substring("value", 3, 16)))
    return [
        _refuse("tombstone", F.col("value").isNull(), "the record has no value"),
        _refuse("too_large", F.octet_length("value") > MAX_VALUE_BYTES, _said(F.octet_length("value"), " bytes")),
        _refuse("schema_registry_prefix", has_number, _said("a zero byte and the number of schema ", schema)),
        _refuse("schema_registry_prefix", has_id, _said("AWS Glue's header with the schema's version ", glue)),
        _refuse("invalid_utf8", F.col("_text").isNull(), "the bytes are not UTF-8"),
        _refuse("empty_value", is_broken & is_empty, "nothing but white space"),
        _refuse("bad_text", is_broken & _has_lone_surrogate(), "half a surrogate pair"),
        _refuse("not_json", is_broken, start),
        _refuse("not_an_object", ~_is_object(), start),
        _refuse("bad_text", has_nul, "a NUL character"),
    ]


def _is_object() -> Column:
    return F.coalesce(F.col("_shape").startswith("OBJECT<"), F.lit(False))


def _has_lone_surrogate() -> Column:
    pairs_removed = F.regexp_replace(F.lower("_text"), r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}", "")
    return pairs_removed.rlike(r"\\ud[89a-f][0-9a-f]{2}")


def _not_an_object(place: str) -> Column:
    value = F.col("_envelope_map").getItem(place)
    is_other = value.isNotNull() & ~F.is_variant_null(value) & F.col(f"_{place}_map").isNull()
    return _refuse("wrong_type", is_other, f"{place} is not an object")


def _wrong_type(place: str) -> Column:
    prefix = "" if place == "envelope" else f"{place}."

    def reason(wrong: Column) -> Column:
        found = F.substring(_type_name(wrong["value"]), 1, 80)  # of an object it may be as long as the object
        detail = _said(prefix, wrong["key"], " has the type ", found)
        return _refuse("wrong_type", F.lit(True), detail)

    return F.get(F.transform(F.map_entries(_wrongly_typed(place)), reason), F.lit(0))


def _missing(path: str, condition: Column) -> Column:
    return _refuse("missing_field", condition, f"{path} is missing")


def _blank(path: str, value: Column, is_needed: Column) -> Column:
    """For a required identifier. An empty one is refused by its length."""
    return _refuse("missing_field", is_needed & (value != "") & is_blank(value), f"{path} is blank")


def _field_reasons(field: Field) -> list[Column]:
    """Limits of one field; its type is right or it is null when these are reached."""
    path = field.path
    if field.kind == "products":
        return _product_reasons(path)
    if field.kind == "timestamp":
        return []
    value = _read(field)
    is_outside = _is_outside(field, value)
    match field.kind:
        case "amount":
            said = F.coalesce(_as_double(field).cast("string"), F.regexp_replace(value.cast("string"), r"\.?0+$", ""))
            is_beyond = _is_beyond(field) & F.col(_reads(field)) if field in _LATER else _is_beyond(field)
            return [_refuse("out_of_range", is_outside | is_beyond, _said(f"{path} is ", said))]
        case "choice":
            return [_refuse("out_of_range", is_outside, f"{path} must be one of {', '.join(field.choices)}")]
        case "version":
            return [_refuse("unknown_version", is_outside, _said(f"{path} is ", value))]
        case "quantity" | "count":
            return [_refuse("out_of_range", is_outside, _said(f"{path} is ", value))]
    detail = _said(f"{path} has ", F.length(value), f" characters; {_longest(field)} at most")
    return [_refuse("bad_length", is_outside, detail)]


def _is_outside(field: Field, value: Column) -> Column:
    """True for a value of the right type beyond the field's limits; null for null."""
    match field.kind:
        case "choice":
            return ~value.isin(*field.choices)
        case "version":
            return ~value.isin(*contract.SUPPORTED_VERSIONS)
        case "amount" | "quantity" | "count":
            return ~value.between(*_range(field))
    is_bad_length = F.length(value) > _longest(field)
    return is_bad_length | (value == "") if field.kind == "identifier" else is_bad_length


def _is_beyond(field: Field) -> Column:
    """True for an amount of an unusual shape beyond its limits, which its rounded or missing column does not show.
    Never null."""
    if field.kind != "amount":
        return F.lit(False)
    return F.coalesce(~_as_double(field).between(*_range(field)), F.lit(False))


def _as_double(field: Field) -> Column:
    """A number of an unusual shape as the nearest double; else null."""
    found = F.col(f"_{field.place}_map").getItem(field.name)
    return F.when(_is_number(_type_name(found)), F.try_variant_get(found, "$", "double"))


def _longest(field: Field) -> int:
    return contract.MAX_IDENTIFIER_LENGTH if field.kind == "identifier" else contract.MAX_TEXT_LENGTH


def _range(field: Field) -> tuple[float, float]:
    highest = {"amount": contract.MAX_AMOUNT, "quantity": contract.MAX_QUANTITY, "count": contract.MAX_COUNT}
    return (1 if field.kind == "quantity" else 0), highest[field.kind]


def _product_reasons(path: str) -> list[Column]:
    value = F.col("_data_map").getItem("products")
    is_not_list = value.isNotNull() & ~F.is_variant_null(value) & F.col("_lines").isNull()

    def is_wrong(line: Column) -> Column:
        fields = F.try_variant_get(line, "$", _MAP)
        is_right = F.lit(True)
        for field in contract.PRODUCT_LINE:
            value = fields.getItem(field.name)
            is_right = is_right & (value.isNull() | F.is_variant_null(value) | _is_of_kind(field, value))
        return fields.isNull() | ~is_right

    def has_bad_id(line: Column) -> Column:
        length = F.length(F.try_variant_get(line, "$.product_id", "string"))
        return F.coalesce(~length.between(1, contract.MAX_IDENTIFIER_LENGTH), F.lit(False))

    def is_outside(line: Column) -> Column:
        read = {name: F.try_variant_get(line, f"$.{name}", "double") for name in ("quantity", "price")}
        is_bad_quantity = ~read["quantity"].between(1, contract.MAX_QUANTITY)
        is_bad_price = ~read["price"].between(0, contract.MAX_AMOUNT)
        return F.coalesce(is_bad_quantity, F.lit(False)) | F.coalesce(is_bad_price, F.lit(False))

    return [
        _refuse("wrong_type", is_not_list, f"{path} is not a list"),
        _refuse("wrong_type", F.exists("_lines", is_wrong), f"{path} has a line of other types"),
        _refuse("bad_length", F.exists("_lines", has_bad_id), f"{path} has a product_id that is empty or too long"),
        _refuse("out_of_range", F.exists("_lines", is_outside), f"{path} has a value outside its limits"),
    ]


def _type_reasons() -> list[Column]:
    event_type = F.col("_envelope.event_type")
    is_known = event_type.isin(*contract.TOPIC_OF_TYPE)
    reasons = [_refuse("unknown_type", ~is_known, _said("event_type is ", F.substring(event_type, 1, 80)))]
    for topic in sorted(set(contract.TOPIC_OF_TYPE.values())):
        own = [name for name, home in contract.TOPIC_OF_TYPE.items() if home == topic]
        is_elsewhere = event_type.isin(own) & (F.col("topic") != topic)
        reasons.append(_refuse("wrong_topic", is_elsewhere, _said(event_type, f" belongs on {topic}")))
    needed_by: dict[str, list[str]] = {}
    for declared in contract.EVENT_TYPES:
        for name in declared.required:
            needed_by.setdefault(name, []).append(declared.name)
    for name, types in needed_by.items():
        value, is_needed = F.col(f"_data.{name}"), event_type.isin(types)
        reasons.append(_missing(f"data.{name}", is_needed & value.isNull()))
        if contract.DATA_FIELDS[name].kind == "identifier":
            reasons.append(_blank(f"data.{name}", value, is_needed))
    return reasons


def _time_reasons(limits: Limits) -> list[Column]:
    sent, said = F.col("kafka_timestamp"), F.substring("_envelope.timestamp", 1, 80)
    is_sent = fast_checks.is_sent()
    told = F.coalesce(F.concat(sent.cast("string"), F.lit(" UTC")), F.lit("outside the years 1900 to 2199"))
    # Both times are named, so that a person can tell which one is wrong.
    both = _said("timestamp is ", said, ", the record's Kafka time is ", told)
    latest = sent + F.expr(f"INTERVAL {limits.max_future_minutes} MINUTES")
    earliest = sent - F.expr(f"INTERVAL {limits.max_age_days} DAYS")
    return [
        _refuse("bad_timestamp", F.col("_time").isNull(), _said("timestamp is ", said)),
        _refuse("bad_kafka_time", ~is_sent, _said("the record's Kafka time is ", told)),
        _refuse("timestamp_in_future", is_sent & (F.col("_time") > latest), both),
        _refuse("timestamp_too_old", is_sent & (F.col("_time") < earliest), both),
    ]
