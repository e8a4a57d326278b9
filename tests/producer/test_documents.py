"""What is derived from the declarations has not drifted from them."""

from jsonschema_rs import meta
from kafka import TopicPartition

from lakehouse.settings import Settings
from producer import contract
from producer.json_schema import event_schema
from producer.topics import TOPICS, config_changes, declared_config, placed


def test_the_schema_is_a_schema_and_knows_every_field() -> None:
    schema = event_schema()
    meta.validate(schema)
    assert set(schema["properties"]["data"]["properties"]) == {field.name for field in contract.DATA}


def test_topics_come_from_the_contract_and_the_settings() -> None:
    config = declared_config(Settings(topic_retention_hours=2, _env_file=None))
    assert set(TOPICS) == set(contract.TOPIC_OF_TYPE.values())
    assert config["retention.ms"] == "7200000"
    assert config["message.timestamp.after.max.ms"] == "3600000", "a time that Spark cannot read does not come in"


def test_added_brokers_get_their_share_and_replicas_are_in_different_zones() -> None:
    brokers = {number: "abc"[number % 3] for number in range(1, 7)}
    partitions = [(TopicPartition("shop.clicks", number), 3) for number in range(12)]
    found = placed(partitions, brokers)
    assert [found[where][0] for where, _ in partitions].count(6) == 2, "as many leaders on each"
    assert all(sum(one in replicas for replicas in found.values()) == 6 for one in brokers)
    assert all({brokers[one] for one in replicas} == {"a", "b", "c"} for replicas in found.values())
    assert placed(partitions, {1: ""})[partitions[0][0]] == [1], "no more replicas than brokers"


def test_a_topic_of_msk_serverless_gets_only_what_it_takes() -> None:
    wanted = declared_config(Settings(topic_retention_hours=2, _env_file=None))
    new = dict.fromkeys(wanted, "other") | {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
    of_serverless = {
        name: {"value": value}
        for name, value in {**new, "message.timestamp.difference.max.ms": str(2**63 - 1)}.items()
        if name not in ("message.timestamp.after.max.ms", "message.timestamp.before.max.ms")
    }
    assert set(config_changes(wanted, of_serverless)) == {
        "retention.ms",
        "max.message.bytes",
        "message.timestamp.difference.max.ms",
    }
    as_declared = {name: {"value": value} for name, value in wanted.items()}
    assert config_changes(wanted, as_declared) == {}
