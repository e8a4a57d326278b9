"""A backup beside a writing stream, brought back into another bucket: the stream goes on from there as if nothing
had been lost."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.services.service import child_environment
from lakehouse.settings import Settings
from lakehouse.stream import control as stream_control
from producer.simulator.engine import simulate
from producer.simulator.options import SimulationOptions
from tests.support import pages
from tests.support.platform import platform
from tests.support.shop import DAY_MS, IDENTITY, Shop, assert_books_balance, assert_gold_is_right, eventually, live_load

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]
BACK_UP, RESTORE = pages.marked(__file__)
PLACES = {"target": "/backups/shop", "source": "/backups/shop/20261125T170000Z"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with platform(tmp_path, stream=True) as settings:
        made = Shop(settings, tmp_path)
        history = SimulationOptions(
            now_ms=int(time.time() * 1000), seed=61, history_ms=3 * DAY_MS, history_events=5_000, duplicates=0.03,
            late=0.01, malformed=0.03,
        )  # fmt: skip
        made.send(list(simulate(history)))
        made.wait_until_read(900)
        yield made


def typed(block: pages.Block, settings: Settings, folder: Path, **places: str) -> str:
    """What a block of docs/how-to/backup.md prints, with other places than the page's."""
    text = block.text
    for written, meant in places.items():
        assert PLACES[written] in text
        text = text.replace(PLACES[written], meant)
    return pages.run(text, {**child_environment(settings), **pages.programs(folder / "bin")}, folder).strip()


def booked(shop: Shop) -> int:
    return int(str(shop.ask(IDENTITY)[0]["offsets"]))


def assert_the_book_is_in_the_tables(shop: Shop) -> None:
    """All that the book says is there; a part of the next batch may be there too, and nothing twice."""
    (book,) = shop.ask(IDENTITY)
    for name, table in (("bronze", "bronze.events"), ("silver", "silver.events"), ("quarantined", "silver.quarantine")):
        (row,) = shop.ask(f'select count(*) as n, count(distinct (topic, "partition", "offset")) as d from {table}')
        assert row["n"] == row["d"] >= book[name], table


def test_a_backup_beside_a_writing_stream_comes_back_and_goes_on(shop: Shop, tmp_path: Path) -> None:
    before = booked(shop)
    sending = live_load(shop, seed=62, seconds=40)
    eventually(lambda: booked(shop) > before, 120, "the stream writes")
    backup = Path(typed(BACK_UP, shop.settings, tmp_path, target=str(tmp_path / "backups")))
    sending.join()
    shop.wait_until_read(900)
    everything = booked(shop)
    assert_gold_is_right(shop)

    # The same brokers, another bucket. Nothing comes in while we look at what was in the backup.
    shop.settings = shop.settings.model_copy(update={"bucket": "restored"})
    stream_control.want(shop.settings, "stopped")
    typed(RESTORE, shop.settings, tmp_path, source=str(backup))
    in_backup = booked(shop)
    assert before < in_backup < everything, "the backup was made while the stream wrote"
    assert set(json.loads((backup / "manifest.json").read_text())["tables"]) >= {"bronze.events", "ops.batches"}
    assert_the_book_is_in_the_tables(shop)

    stream_control.want(shop.settings, "running")
    live_load(shop, seed=63, seconds=10).join()
    shop.wait_until_read(900)
    assert booked(shop) > everything
    assert_books_balance(shop)
    assert_gold_is_right(shop)
