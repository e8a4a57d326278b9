"""silver.events: every accepted event, once. The columns of the event's fields follow from the contract."""

from collections.abc import Iterable
from datetime import datetime

import pyarrow as pa
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from lakehouse.table import Table, column, with_constants
from producer import contract
from producer.contract import Field

AMOUNT = DecimalType(contract.AMOUNT_DIGITS, contract.AMOUNT_DECIMALS)
_TYPES: dict[str, DataType] = {
    "timestamp": TimestampType(),
    "amount": AMOUNT,
    "quantity": IntegerType(),
    "count": LongType(),
    "version": IntegerType(),
}
PRODUCT_LINES = ArrayType(
    StructType([StructField(field.name, _TYPES.get(field.kind, StringType())) for field in contract.PRODUCT_LINE])
)


def columns_of(fields: Iterable[Field]) -> list[StructField]:
    """The columns that fields of the contract become, in their order."""
    types = _TYPES | {"products": PRODUCT_LINES}
    return [
        column(field.silver_column, types.get(field.kind, StringType()), field.description.removesuffix("."))
        for field in fields
    ]


TABLE = Table(
    layer="silver",
    name="events",
    grain="one accepted event, once per event_id",
    schema=StructType(
        [
            *columns_of(contract.FIELDS),
            column("extra", StringType(), "Unknown fields as one JSON object, null when there are none"),
            column("topic", StringType(), "Kafka topic"),
            column("partition", IntegerType(), "Kafka partition"),
            column("offset", LongType(), "Kafka offset"),
            column("kafka_timestamp", TimestampType(), "The record's Kafka time, UTC"),
            column("processed_at", TimestampType(), "When the micro-batch began, UTC"),
            column("event_date", DateType(), "Day of event_time, UTC"),
        ]
    ),
    keys=("event_id",),
    partition_by=("event_date",),
    statistics=("event_time", "user_id", "topic", "partition", "offset", "processed_at"),
    # The stream (is a late event known?), restatements and evidence of flags ask by time; people ask by user.
    cluster_by=("event_time", "user_id"),
    fed="live",
    rows="rebuilt",
    served=False,
)
_DUCKDB = {"string": "VARCHAR", "timestamp": "TIMESTAMPTZ", "int": "INTEGER"}
DUCKDB_TYPES = {
    field.name: _DUCKDB.get(kind := field.dataType.simpleString(), kind.upper()) for field in TABLE.schema.fields
}
"""The columns' types in DuckDB; moments have a zone."""


def rows(accepted: pa.Table, at: datetime) -> pa.Table:
    """Judged records of a micro-batch that began at `at`, valid and no duplicates, as rows of the table."""
    return with_constants(accepted, processed_at=at).select(TABLE.columns)
