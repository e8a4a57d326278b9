"""Kafka: how our clients, kafka-python and Spark, prove who they are, and what the broker has: partitions, first and
last offsets, all as a reader of committed records sees them. The stream's true lag is told from these.

MSK knows its clients by their AWS credentials, which the standard chain finds (an instance's role, a profile, the
environment): there is no password. Both clients send a signed request as an OAUTHBEARER token, made anew for each
login, so that credentials may expire.
"""

import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.net.sasl.oauth import AbstractTokenProvider

from lakehouse.errors import ShoplakeError
from lakehouse.settings import Settings

Offsets = dict[str, dict[str, int]]
"""topic → partition (as text, as Kafka's JSON spells it) → offset."""
ISOLATION = "read_committed"
"""Records of a transaction that was aborted, or is still open, are not there for us; Kafka's clients show them unless
they are told."""
_PATIENCE_SECONDS = 10.0
_LOGIN_HANDLER = "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler"


class MskToken(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """Makes the token of one login with the AWS credentials of this process."""

    def __init__(self, region: str) -> None:
        """`region` is the cluster's."""
        super().__init__()
        self._region = region

    def token(self) -> str:
        """A token that is valid for 15 minutes. Raises ShoplakeError without credentials."""
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
        from botocore.session import Session

        if Session().get_credentials() is None:
            raise ShoplakeError("There are no AWS credentials; set AWS_PROFILE, or give the instance its role.")
        token, _expires_ms = MSKAuthTokenProvider.generate_auth_token(self._region)
        return str(token)


def client_options(settings: Settings) -> dict[str, Any]:
    """What every kafka-python client gets besides its address."""
    if settings.kafka_security == "plaintext":
        return {}
    options: dict[str, Any] = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": MskToken(settings.s3_region),
    }
    if settings.kafka_ca_file is not None:
        options["ssl_cafile"] = str(settings.kafka_ca_file)
    return options


def spark_options(settings: Settings) -> dict[str, str]:
    """What Spark's Kafka source gets besides its address; the JVM's own store of authorities is used without a file."""
    if settings.kafka_security == "plaintext":
        return {}
    options = {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "OAUTHBEARER",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
        "kafka.sasl.login.callback.handler.class": _LOGIN_HANDLER,
        "kafka.sasl.client.callback.handler.class": _LOGIN_HANDLER,
    }
    if settings.kafka_ca_file is not None:
        options |= {
            "kafka.ssl.truststore.type": "PEM",
            "kafka.ssl.truststore.location": str(settings.kafka_ca_file),
        }
    return options


class Span(NamedTuple):
    """Offsets of a partition from `first` to before `end`."""

    topic: str
    partition: int
    first: int
    end: int


class Waiting(NamedTuple):
    """A partition, the next offset to read, the end of what is committed, and how many records lie between."""

    topic: str
    partition: int
    read_to: int
    end: int
    records: int


def partitions(settings: Settings, topics: Iterable[str]) -> dict[str, list[int]]:
    """Partition numbers per topic. Raises ShoplakeError when a topic or the broker is missing."""
    with closing(_consumer(settings)) as consumer:
        found = {topic: sorted(consumer.partitions_for_topic(topic) or ()) for topic in topics}
    missing = [topic for topic, numbers in found.items() if not numbers]
    if missing:
        raise ShoplakeError(f"The topics {', '.join(missing)} do not exist; make them with `shoplake up`.")
    return found


def bounds(settings: Settings, topics: Iterable[str]) -> tuple[Offsets, Offsets]:
    """First offsets that the broker still has, and the ends of what is committed, per topic-partition."""
    numbers = partitions(settings, topics)
    with closing(_consumer(settings)) as consumer:
        listed = [TopicPartition(topic, number) for topic, each in numbers.items() for number in each]
        first, end = consumer.beginning_offsets(listed), consumer.end_offsets(listed)
    return _nested(first), _nested(end)


def waiting(settings: Settings, topics: Iterable[str], read: Offsets) -> list[Waiting]:
    """What is not read yet of each partition, `read` being next offsets per topic-partition."""
    first, end = bounds(settings, topics)
    found = []
    for topic, each in end.items():
        for partition, offset in each.items():
            read_to = read.get(topic, {}).get(partition, first[topic][partition])
            found.append(Waiting(topic, int(partition), read_to, offset, max(0, offset - read_to)))
    return found


def lag(settings: Settings, topics: Iterable[str], read: Offsets) -> int:
    """Records on the broker that are not yet read, of all partitions."""
    return sum(one.records for one in waiting(settings, topics, read))


def refuse_gaps(settings: Settings, topics: Iterable[str], wanted: Offsets) -> None:
    """Raise ShoplakeError when the broker no longer has what the lake needs next."""
    first, end = bounds(settings, topics)
    for topic, each in wanted.items():
        for partition, offset in each.items():
            oldest, newest = first.get(topic, {}).get(partition, 0), end.get(topic, {}).get(partition, 0)
            if offset < oldest:
                raise ShoplakeError(
                    f"Kafka has deleted offsets {offset} to {oldest - 1} of {topic} partition {partition} before"
                    " they were read: these records are lost. Raise SHOPLAKE_TOPIC_RETENTION_HOURS."
                )
            if offset > newest:
                raise ShoplakeError(
                    f"{topic} partition {partition} ends at offset {newest}, but the lake has read up to {offset}:"
                    " the topic was made anew. Use a new lake (SHOPLAKE_BUCKET, SHOPLAKE_DATA_DIR) for it."
                )


def begin_late(settings: Settings, topics: Iterable[str], wanted: Offsets) -> list[str]:
    """A sentence per partition that the lake has nothing of and the broker no longer has the beginning of.

    Whether the records before were this shop's nobody can tell: it is said, and the stream goes on. Nothing is said for
    a lake that has read nothing yet.
    """
    if not wanted:
        return []
    first, _ = bounds(settings, topics)
    return [
        f"{topic} partition {partition} begins at offset {offset}, and the lake has nothing of it: what was before is"
        " not in the lake."
        for topic, each in first.items()
        for partition, offset in each.items()
        if offset > 0 and partition not in wanted.get(topic, {})
    ]


def first_held(settings: Settings, spans: Iterable[Span]) -> dict[Span, int | None]:
    """Offset of the first record that the broker holds in each span; None where it holds none (marks of transactions,
    aborted records, compaction). Spans that begin before the broker's beginning are left out: nobody can tell."""
    found: dict[Span, int | None] = {}
    with closing(_consumer(settings, max_partition_fetch_bytes=64 * 1024)) as consumer:
        for span in spans:
            place = TopicPartition(span.topic, span.partition)
            consumer.assign([place])
            if consumer.beginning_offsets([place])[place] > span.first:
                continue
            consumer.seek(place, span.first)
            until = time.monotonic() + _PATIENCE_SECONDS
            while span not in found and time.monotonic() < until:
                records = consumer.poll(timeout_ms=500, max_records=1).get(place)
                if records:
                    found[span] = records[0].offset if records[0].offset < span.end else None
                elif consumer.position(place) >= span.end:
                    found[span] = None
    return found


def _consumer(settings: Settings, **options: Any) -> Any:
    try:
        return KafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            enable_auto_commit=False,
            isolation_level=ISOLATION,
            **options,
            **client_options(settings),
        )
    except KafkaError as error:
        raise ShoplakeError(f"The Kafka broker at {settings.bootstrap} does not answer ({error}).") from error


def _nested(offsets: dict[Any, int]) -> Offsets:
    found: Offsets = {}
    for place, offset in offsets.items():
        found.setdefault(place.topic, {})[str(place.partition)] = int(offset)
    return found
