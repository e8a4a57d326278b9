"""The embedded broker: Apache Kafka in KRaft mode, one node, one JVM."""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from lakehouse.errors import ShoplakeError
from lakehouse.probes import kafka_answers
from lakehouse.reports import replace_text
from lakehouse.services.jars import class_path
from lakehouse.services.service import Service, java, jvm_options, log4j, properties
from lakehouse.settings import Settings
from producer.topics import MAX_MESSAGE_BYTES, apply_topics

LOG4J = log4j("org.apache.kafka.common.config.AbstractConfig")


def kafka_properties(settings: Settings) -> dict[str, object]:
    """The broker's configuration. Flushing stays Kafka's default: durability comes from replication, not fsync."""
    home = settings.data_dir / "kafka"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{settings.kafka_controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": (
            f"PLAINTEXT://127.0.0.1:{settings.kafka_port},CONTROLLER://127.0.0.1:{settings.kafka_controller_port}"
        ),
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{settings.kafka_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": home / "data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        "log.retention.hours": settings.topic_retention_hours,
        "log.segment.bytes": 128 * 1024 * 1024,
        # Only Kafka's own small topics are compacted. The default holds 128 MB for it from the start.
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "controlled.shutdown.enable": "false",
    }


def service(settings: Settings) -> Service:
    """The broker as the supervisor sees it."""
    return Service(
        name="kafka",
        address_name="bootstrap",
        address=settings.bootstrap,
        is_embedded=settings.kafka_is_embedded,
        command=_command(settings, "kafka.Kafka", str(_home(settings) / "server.properties")),
        env={"CLASSPATH": class_path("kafka")},
        ports={
            "SHOPLAKE_KAFKA_PORT": settings.kafka_port,
            "SHOPLAKE_KAFKA_CONTROLLER_PORT": settings.kafka_controller_port,
        },
        is_healthy=lambda _pid: kafka_answers(settings),
        prepare=lambda: _prepare(settings),
        on_up=lambda: apply_topics(settings),
        memory_limit_mb=settings.kafka_memory_mb + 320,
        memory_mb=settings.kafka_memory_mb // 2 + 96,
    )


def _home(settings: Settings) -> Path:
    return settings.data_dir / "kafka"


def _command(settings: Settings, main: str, *arguments: str) -> tuple[str, ...]:
    options = jvm_options(settings.kafka_memory_mb)
    logging = f"-Dlog4j2.configurationFile={_home(settings) / 'log4j2.properties'}"
    return (java(), *options, "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=128m", logging, main, *arguments)


def _prepare(settings: Settings) -> None:
    """Write the configuration, and format the storage of a new lake."""
    home = _home(settings)
    configuration = home / "server.properties"
    replace_text(home / "log4j2.properties", LOG4J)
    replace_text(configuration, properties(kafka_properties(settings)))
    if (home / "data" / "meta.properties").exists():
        return
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # With an equals sign: one id in 64 begins with a dash, and would be taken for an option.
    named = f"--cluster-id={cluster_id}"
    command = _command(settings, "kafka.tools.StorageTool", "format", named, "-c", str(configuration))
    done = subprocess.run(command, env={"CLASSPATH": class_path("kafka")}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ShoplakeError(f"Kafka's storage cannot be formatted: {(done.stderr or done.stdout).strip()}")
