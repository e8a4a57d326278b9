"""The Kafka topics, declared once, and applied to a broker with `apply_topics`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError

from lakehouse.broker import client_options
from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings
from producer.contract import EVENT_TYPES

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""Kafka takes more than the contract's 1 MiB, so that an oversized event ends in quarantine, not at its sender."""

FURTHEST_AHEAD_MS, FURTHEST_BACK_MS = 3_600_000, 4_000_000_000_000
"""An hour, as Kafka 4 has it by itself, and 126 years. A record's own time beyond them is refused at its sender: Spark
cannot read one in nanoseconds, and Kafka never deletes a segment with a time to come."""

TOPICS = tuple(dict.fromkeys(event_type.topic for event_type in EVENT_TYPES))
"""The topics' names, in the order of the contract."""


def declared_config(settings: Settings) -> dict[str, str]:
    """The configuration that every topic should have on the broker."""
    return {
        "retention.ms": str(settings.topic_retention_hours * 3_600_000),
        "cleanup.policy": "delete",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(FURTHEST_AHEAD_MS),
        "message.timestamp.before.max.ms": str(FURTHEST_BACK_MS),
    }


def apply_topics(settings: Settings) -> None:
    """Make the broker's topics as declared; doing it again changes nothing.

    Missing topics are created, partitions are raised (never lowered: Kafka cannot), retention and the other
    configurations are updated. Raises ShoplakeError when the broker is away or refuses.
    """
    with _admin(settings, "applied to") as admin:
        _create_missing(admin, settings)
        _raise_partitions(admin, settings.topic_partitions)
        _update_configs(admin, declared_config(settings))
        admin.wait_for_topics(list(TOPICS), timeout_ms=30_000)


def spread_topics(settings: Settings) -> int:
    """Give every broker its share of the topics' partitions; how many partitions were placed.

    Brokers that were added hold nothing until then. Kafka moves the records by itself, afterwards.

    Raises ShoplakeError when the broker is away or refuses.
    """
    with _admin(settings, "spread over") as admin:
        found = admin.describe_cluster()["brokers"]
        brokers = {one["broker_id"]: one.get("rack") or "" for one in found if not one.get("is_fenced")}
        described = sorted(admin.describe_topics(list(TOPICS)), key=lambda topic: topic["name"])
        partitions = [
            (TopicPartition(topic["name"], one["partition_index"]), len(one["replica_nodes"]))
            for topic in described
            for one in sorted(topic["partitions"], key=lambda one: one["partition_index"])
        ]
        results = admin.alter_partition_reassignments(placed(partitions, brokers))
    if refused := [f"{where.topic} {where.partition}: {error.__name__}" for where, error in results.items() if error]:
        raise ShoplakeError(f"Kafka refused to move partitions ({'; '.join(refused)}).")
    return len(partitions)


@contextmanager
def _admin(settings: Settings, done: str) -> Iterator[KafkaAdminClient]:
    """The broker's administration. An error with it says that the topics could not be `done` to Kafka."""
    options = {"bootstrap_timeout_ms": 10_000, **client_options(settings)}
    try:
        with KafkaAdminClient(bootstrap_servers=settings.bootstrap, **options) as admin:
            yield admin
    except (KafkaError, OSError) as error:
        # The broker's own words where there are some: the error itself repeats the whole exchange.
        said = re.search(r"error_message='([^']+)'", str(error))
        kind = "it does not answer" if isinstance(error, KafkaTimeoutError) else type(error).__name__
        what = said[1].rstrip(".") if said else kind
        raise ShoplakeError(f"The topics could not be {done} Kafka at {settings.bootstrap}: {what}.") from error


def placed(
    partitions: Sequence[tuple[TopicPartition, int]], brokers: Mapping[int, str]
) -> dict[TopicPartition, list[int]]:
    """The brokers of each partition with so many replicas: in turn, and neighbours in different zones."""
    by_zone = [sorted(one for one in brokers if brokers[one] == zone) for zone in sorted(set(brokers.values()))]
    turn = [one for row in zip_longest(*by_zone) for one in row if one is not None]
    return {
        where: [turn[(number + replica) % len(turn)] for replica in range(min(replicas, len(turn)))]
        for number, (where, replicas) in enumerate(partitions)
    }


def _create_missing(admin: KafkaAdminClient, settings: Settings) -> None:
    wanted = {"num_partitions": settings.topic_partitions, "replication_factor": settings.topic_replication}
    existing = set(admin.list_topics())
    missing = [name for name in TOPICS if name not in existing]
    if not missing:
        return
    try:
        admin.create_topics(dict.fromkeys(missing, wanted), wait_for_metadata=True)
    except TopicAlreadyExistsError:  # another process was faster
        admin.wait_for_topics(missing)


def _raise_partitions(admin: KafkaAdminClient, wanted: int) -> None:
    described = admin.describe_topics(list(TOPICS))
    if fewer := [topic["name"] for topic in described if len(topic["partitions"]) < wanted]:
        admin.create_partitions(dict.fromkeys(fewer, wanted))


def _update_configs(admin: KafkaAdminClient, wanted: Mapping[str, str]) -> None:
    topics = [ConfigResource(ConfigResourceType.TOPIC, name) for name in TOPICS]
    changed = [
        ConfigResource(ConfigResourceType.TOPIC, name, changes)
        for name, known in admin.describe_configs(topics, False, "all")["topic"].items()
        if (changes := config_changes(wanted, known))
    ]
    if not changed:
        return
    results = admin.alter_configs(changed)
    refused = [f"{name}: {result}" for name, result in results.get("topic", {}).items() if result != "OK"]
    if refused:
        raise ShoplakeError(f"Kafka refused a topic configuration ({'; '.join(refused)}).")


def config_changes(wanted: Mapping[str, str], known: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What must be sent to the broker: the keys that it knows and has other values of.

    MSK Serverless is a Kafka 2.8 that refuses keys which it does not list, and a `cleanup.policy` after the topic's
    making. It has one limit for both directions of a record's time.
    """
    if "message.timestamp.before.max.ms" not in known:
        wanted = {**wanted, "message.timestamp.difference.max.ms": str(FURTHEST_BACK_MS)}
    return {key: value for key, value in wanted.items() if key in known and known[key].get("value") != value}
