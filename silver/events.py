"""silver.events: every accepted event, once."""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from lakehouse.table import Table

PRODUCT_LINES = ArrayType(
    StructType(
        [
            StructField("product_id", StringType()),
            StructField("quantity", IntegerType()),
            StructField("price", DoubleType()),
        ]
    )
)


def _column(name: str, kind: object, comment: str, nullable: bool = True) -> StructField:
    return StructField(name, kind, nullable, {"comment": comment})  # type: ignore[arg-type]


TABLE = Table(
    layer="silver",
    name="events",
    grain="one accepted event, once per event_id",
    schema=StructType(
        [
            _column("event_id", StringType(), "Identifies the event"),
            _column("event_type", StringType(), "One of the contract's event types"),
            _column("event_time", TimestampType(), "When it happened, UTC"),
            _column("user_id", StringType(), "Who did it"),
            _column("session_id", StringType(), "The visit"),
            _column("device_id", StringType(), "The device"),
            _column("ip", StringType(), "Network address"),
            _column("country", StringType(), "ISO 3166-1 alpha-2"),
            _column("user_agent", StringType(), "Browser identification"),
            _column("page_url", StringType(), "Address of the page"),
            _column("device", StringType(), "Kind of device"),
            _column("browser", StringType(), "Browser name"),
            _column("element", StringType(), "What was clicked"),
            _column("product_id", StringType(), "The product"),
            _column("product_name", StringType(), "Its name"),
            _column("category", StringType(), "Its category"),
            _column("price", DoubleType(), "Its unit price"),
            _column("quantity", IntegerType(), "How many"),
            _column("order_id", StringType(), "The order"),
            _column("amount", DoubleType(), "Total of the order, in its currency"),
            _column("currency", StringType(), "ISO 4217"),
            _column("payment_method", StringType(), "How it was paid"),
            _column("payment_status", StringType(), "approved, declined, or null"),
            _column("card_fingerprint", StringType(), "Anonymous fingerprint of the card"),
            _column("products", PRODUCT_LINES, "Lines of the order"),
            _column("query", StringType(), "What was searched for"),
            _column("results_count", LongType(), "How many results were shown"),
            _column("extra", StringType(), "Unknown fields as one JSON object, null when there are none"),
            _column("schema_version", IntegerType(), "Version of the contract"),
            _column("topic", StringType(), "Kafka topic"),
            _column("partition", IntegerType(), "Kafka partition"),
            _column("offset", LongType(), "Kafka offset"),
            _column("kafka_timestamp", TimestampType(), "The record's Kafka time, UTC"),
            _column("processed_at", TimestampType(), "When the micro-batch began, UTC"),
            _column("event_date", DateType(), "Day of event_time, UTC"),
        ]
    ),
    keys=("event_id",),
    partition_by=("event_date",),
    statistics=("event_time", "topic", "partition", "offset", "processed_at"),
)
