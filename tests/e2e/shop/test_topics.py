"""Topics that get more partitions while the stream reads them; they stay wider for the tests that come after."""

import pytest

from lakehouse import broker
from producer.topics import TOPICS, apply_topics
from tests.support.shop import Shop, assert_books_balance, assert_gold_is_right, live_load

pytestmark = pytest.mark.e2e


def test_partitions_are_raised_while_the_stream_runs(shop: Shop) -> None:
    before = broker.partitions(shop.settings, TOPICS)
    new = shop.settings.topic_partitions
    wider = shop.settings.model_copy(update={"topic_partitions": new + 1})
    for _ in range(2):
        apply_topics(wider)
    assert broker.partitions(shop.settings, TOPICS) == {topic: [*known, new] for topic, known in before.items()}
    apply_topics(shop.settings)
    assert broker.partitions(shop.settings, TOPICS) == broker.partitions(wider, TOPICS), "never fewer"

    live_load(shop, seed=301, seconds=4).join()
    shop.wait_until_read()
    read = shop.ask(f'select distinct topic from bronze.events where "partition" = {new}')
    assert {row["topic"] for row in read} == set(TOPICS)
    assert_books_balance(shop)
    assert_gold_is_right(shop)
