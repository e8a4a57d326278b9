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

from lakehouse.table import Table, column

PRODUCT_LINES = ArrayType(
    StructType(
        [
            StructField("product_id", StringType()),
            StructField("quantity", IntegerType()),
            StructField("price", DoubleType()),
        ]
    )
)


TABLE = Table(
    layer="silver",
    name="events",
    grain="one accepted event, once per event_id",
    schema=StructType(
        [
            column("event_id", StringType(), "Identifies the event"),
            column("event_type", StringType(), "One of the contract's event types"),
            column("event_time", TimestampType(), "When it happened, UTC"),
            column("user_id", StringType(), "Who did it"),
            column("session_id", StringType(), "The visit"),
            column("device_id", StringType(), "The device"),
            column("ip", StringType(), "Network address"),
            column("country", StringType(), "ISO 3166-1 alpha-2"),
            column("user_agent", StringType(), "Browser identification"),
            column("page_url", StringType(), "Address of the page"),
            column("device", StringType(), "Kind of device"),
            column("browser", StringType(), "Browser name"),
            column("element", StringType(), "What was clicked"),
            column("product_id", StringType(), "The product"),
            column("product_name", StringType(), "Its name"),
            column("category", StringType(), "Its category"),
            column("price", DoubleType(), "Its unit price"),
            column("quantity", IntegerType(), "How many"),
            column("order_id", StringType(), "The order"),
            column("amount", DoubleType(), "Total of the order, in its currency"),
            column("currency", StringType(), "ISO 4217"),
            column("payment_method", StringType(), "How it was paid"),
            column("payment_status", StringType(), "approved, declined, or null"),
            column("card_fingerprint", StringType(), "Anonymous fingerprint of the card"),
            column("products", PRODUCT_LINES, "Lines of the order"),
            column("query", StringType(), "What was searched for"),
            column("results_count", LongType(), "How many results were shown"),
            column("extra", StringType(), "Unknown fields as one JSON object, null when there are none"),
            column("schema_version", IntegerType(), "Version of the contract"),
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
    statistics=("event_time", "topic", "partition", "offset", "processed_at"),
)
