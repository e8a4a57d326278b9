"""100,000 records, good, odd and broken in every known way: the stream never stops, and each ends where it belongs."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.services.state import status
from producer.simulator import SimulationOptions, simulate
from tests.support.fuzz import REASON_OF_KIND
from tests.support.platform import platform
from tests.support.shop import Shop, assert_books_balance, assert_gold_is_right

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

RECORDS, RATE = 100_000, 2_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with platform(folder, stream=True) as settings:
        yield Shop(settings, folder)


def test_nothing_of_a_hundred_thousand_mixed_records_is_unaccounted(shop: Shop) -> None:
    stream = status(shop.settings)["stream"]["pid"]
    options = SimulationOptions(
        now_ms=int(time.time() * 1000), seed=100, live=True, rate=RATE, count=RECORDS, malformed=0.3, harmless=0.1,
        duplicates=0.05, out_of_order=0.05, late=0.01,
    )  # fmt: skip
    records = list(simulate(options))
    sent = Counter(record.defect for record in records)
    assert set(sent) - {None} == set(REASON_OF_KIND), "every kind is among them"
    assert all(record.reason == REASON_OF_KIND[record.defect] for record in records if record.defect)
    assert shop.send(records, live_from=options.now_ms / 1000) == len(records) >= RECORDS
    shop.wait_until_read(900)

    now = status(shop.settings)["stream"]
    assert (now["state"], now["pid"]) == ("up", stream), "the stream never stopped"
    assert_books_balance(shop)
    place = 'topic, "partition", "offset"'
    expected = shop.oracle.open().execute(
        f"select {place}, reason from records where reason is not null order by all"
    ).fetchall()  # fmt: skip
    found = shop.ask(f"select {place}, reason_code from silver.quarantine order by all")
    assert [tuple(row.values()) for row in found] == expected, "each refused record is there with its own reason"
    accepted = shop.ask(f"select {place} from silver.events order by all")
    good = shop.oracle.open().execute(f"select {place} from accepted order by all").fetchall()
    assert [tuple(row.values()) for row in accepted] == good, "every good one is accepted, once"
    assert_gold_is_right(shop)
