"""The contract grows ten times while events of all versions come: one line each time, no loss, and no hand at a table.

The platform runs from a copy of the code. A release is an edit of the copy's `producer/contract.py` and a new stream
process. Every other time a job's process with the new code changes the tables first, while the old stream writes.
"""

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lakehouse.monitoring.figures import Figures
from lakehouse.monitoring.rules import RULES
from lakehouse.runs.registry import RunRegistry
from lakehouse.services import service
from lakehouse.services.service import PROJECT_ROOT, child_environment
from lakehouse.settings import Settings
from producer.publish import publish
from producer.record import Record
from tests.support.platform import platform
from tests.support.shop import IDENTITY, Shop, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

PACKAGES = ("api", "bronze", "gold", "lakehouse", "producer", "quality", "silver")
CHANGES = 10
NEWEST = CHANGES + 1
KINDS: tuple[tuple[str, Any], ...] = (
    ("identifier", "K-1"), ("text", ""), ("amount", 2.5), ("quantity", 3), ("count", 0), ("choice", "yes"),
)  # fmt: skip
VIEWS = "shop.page_views"
MIGRATE = """
from lakehouse.ops import schema_changes
from lakehouse.jobs import find
from lakehouse.lake import Lake
from lakehouse.session import connect
from lakehouse.settings import load_settings
settings = load_settings()
print(schema_changes.apply(Lake(connect(settings), settings), find("backfill").writes))
"""


def kind_and_value(version: int) -> tuple[str, Any]:
    return KINDS[version % len(KINDS)]


def declare(release: Path, version: int) -> None:
    """The one change to the declaration."""
    file = release / "producer" / "contract.py"
    text = file.read_text()
    kind = kind_and_value(version)[0]
    choices = ', choices=("yes", "no")' if kind == "choice" else ""
    line = f'    Field("data", "later_{version}", "{kind}", "It came later."{choices}, since={version}),\n'
    last = '    Field("data", "results_count"'
    assert text.count(last) == 1
    file.write_text(text.replace(last, line + last))


@dataclass
class Load:
    """Sends events of all versions that are declared, and remembers what must become of them."""

    settings: Settings
    newest: int = 1
    good: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    surprised: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None

    def run(self) -> None:
        chance = random.Random(4)
        try:
            while not self.stop.is_set():
                publish([self.one(chance) for _ in range(10)], self.settings)
                self.stop.wait(0.4)
        except BaseException as error:
            self.failure = error
            raise

    def one(self, chance: random.Random) -> Record:
        version = chance.randint(1, self.newest)
        number = len(self.good) + sum(self.refused.values())
        data: dict[str, Any] = {"product_id": "p1", "price": 1.5}
        data |= {f"later_{each}": kind_and_value(each)[1] for each in range(2, version + 1)}
        event: dict[str, Any] = {
            "event_id": f"e{number}", "event_type": "product_view", "user_id": f"u{number % 50}",
            "timestamp": datetime.now(UTC).isoformat(), "data": data,
        }  # fmt: skip
        if version > 1 or chance.random() < 0.5:
            event["schema_version"] = version
        luck = chance.random()
        if luck < 0.03:
            data["price"] = "1.50"
            self.refused["wrong_type"] += 1
        elif luck < 0.06:
            event["schema_version"] = NEWEST + 5
            self.refused["unknown_version"] += 1
        else:
            if luck < 0.2:
                data["surprise"] = {"number": number}
                self.surprised += 1
            elif luck < 0.3 and version == 1:
                # What an old producer sends under a name that is declared later, with another meaning.
                data["later_2"] = {"odd": True}
                self.surprised += 1
            self.good[event["event_id"]] = version
        return Record(VIEWS, event["user_id"].encode(), json.dumps(event).encode(), time.time())


@contextmanager
def stream(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The stream of the release that is there now, until the block ends."""
    command = [sys.executable, "-m", "lakehouse.cli", "stream"]
    with log.open("ab") as said:
        process = subprocess.Popen(
            command, env=child_environment(settings), cwd=settings.data_dir, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            yield process
            assert process.poll() is None, f"the stream ended by itself:\n{log.read_text()[-2000:]}"
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("release")
    for package in PACKAGES:
        shutil.copytree(PROJECT_ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "PROJECT_ROOT", folder)
        yield folder


@pytest.fixture(scope="module")
def shop(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("growing")
    with platform(folder) as settings:
        yield Shop(settings, folder)


def test_ten_changes_under_load(release: Path, shop: Shop, tmp_path: Path) -> None:
    log, load = tmp_path / "stream.log", Load(shop.settings)
    sending = threading.Thread(target=load.run)
    sending.start()
    try:
        for version in range(1, NEWEST + 1):
            with stream(shop.settings, log):
                load.newest = version
                seen = f"select 1 from silver.events where schema_version = {version} limit 1"
                eventually(lambda seen=seen: has_rows(shop, seen), 600, f"events of version {version} are in silver")
                if version < NEWEST:
                    declare(release, version + 1)
                if version % 2:
                    change_from_a_job(shop.settings)
    finally:
        load.stop.set()
        sending.join()
    assert load.failure is None
    with stream(shop.settings, log):
        shop.wait_until_read()
        assert_nothing_is_lost(shop, load)
        assert_all_is_written_down(shop)
        assert_the_alert_fires(shop)


def has_rows(shop: Shop, sql: str) -> bool:
    try:
        return bool(shop.ask(sql))
    except Exception as error:  # before the first batch there is nothing to ask
        assert "no data yet" in str(error)
        return False


def change_from_a_job(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MIGRATE], env=child_environment(settings), cwd=settings.data_dir, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def assert_nothing_is_lost(shop: Shop, load: Load) -> None:
    rows = shop.ask("select event_id, schema_version, extra, columns('later_.*') from silver.events")
    assert {row["event_id"]: row["schema_version"] for row in rows} == load.good
    assert len(rows) == len(load.good) > 500
    assert sum(row["extra"] is not None for row in rows) == load.surprised > 20
    for row in rows:
        for version in range(2, NEWEST + 1):
            expected = kind_and_value(version)[1] if version <= row["schema_version"] else None  # type: ignore[operator]
            assert row[f"later_{version}"] == expected, row
    refused = shop.ask("select reason_code, count(*) as n from silver.quarantine group by 1")
    assert {row["reason_code"]: row["n"] for row in refused} == load.refused
    (book,) = shop.ask(IDENTITY)
    assert (book["silver"], book["duplicates"]) == (len(load.good), 0)
    assert book["bronze"] == len(load.good) + sum(load.refused.values())


def assert_all_is_written_down(shop: Shop) -> None:
    rows = shop.ask("select * from ops.migrations order by contract_version")
    assert [(row["table_name"], row["contract_version"]) for row in rows] == [
        ("silver.events", version) for version in range(2, NEWEST + 1)
    ]
    assert [str(row["change"]).split()[2] for row in rows] == [f"later_{each}" for each in range(2, NEWEST + 1)]


def assert_the_alert_fires(shop: Shop) -> None:
    """Somebody changes the type of a field."""
    broken = {
        "event_id": "b", "event_type": "product_view", "user_id": "u1", "timestamp": datetime.now(UTC).isoformat(),
        "schema_version": NEWEST, "data": {"product_id": "p1", "later_2": {"amount": 1}},
    }  # fmt: skip
    publish([Record(VIEWS, b"u1", json.dumps(broken).encode(), time.time()) for _ in range(1500)], shop.settings)
    shop.wait_until_read()
    (rule,) = (rule for rule in RULES if rule.name == "schema_incompatible")
    figure = Figures(shop.settings, RunRegistry.open(shop.settings).database).gather()[rule.figure]
    assert figure.value is not None and figure.value > rule.limit_in(shop.settings)
    assert "wrong_type, data.later_2 has the type OBJECT" in figure.detail
