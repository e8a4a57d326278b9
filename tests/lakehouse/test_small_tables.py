"""What delta-rs writes is there, once, however many write it at the same time."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql.types import ArrayType, DateType, DecimalType, DoubleType, StringType, StructType, TimestampType

from lakehouse import commits, small_tables
from lakehouse.errors import ShoplakeError, UsageError
from lakehouse.lake import Lake, arrow_rows
from lakehouse.ops.schema_changes import missing_columns
from lakehouse.s3 import delta_options, s3_client
from lakehouse.settings import Settings
from lakehouse.small_tables import SmallTables, properties_of
from lakehouse.stream import log_cleanup
from lakehouse.table import Table, column
from tests.support.memory_s3 import memory_lake

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
NOON = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
SCHEMA = StructType(
    [
        column("name", StringType(), "What it’s called"),
        column("amount", DoubleType(), "How much"),
        column("parts", ArrayType(StringType()), "What it is made of"),
        column("at", TimestampType(), "When, UTC"),
        column("day", DateType(), "Day of `at`, UTC"),
    ]
)
NUMBERS = count()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with memory_lake(tmp_path_factory.mktemp("lake")) as made:
        yield made


@pytest.fixture
def table() -> Table:
    """Another one for each test."""
    name = f"things_{next(NUMBERS)}"
    return Table(
        "ops", name, "a thing", SCHEMA, ("name",), partition_by=("day",), statistics=("at",), writer="delta-rs"
    )


@pytest.fixture
def small(settings: Settings, table: Table) -> SmallTables:
    """Has the table, without rows."""
    made = SmallTables(settings)
    made.create(table)
    return made


def rows(*names: str, day: date = MONDAY) -> pa.Table:
    fields = {"at": pa.timestamp("us", "UTC"), "name": pa.string(), "day": pa.date32()}
    return pa.Table.from_pylist([{"at": NOON, "name": name, "day": day} for name in names], pa.schema(fields))


def named(found: pa.Table) -> list[str]:
    return sorted(found.column("name").to_pylist())


def adding(name: str, day: date = MONDAY) -> small_tables.Change:
    return lambda known: pa.concat_tables([known, rows(name, day=day)], promote_options="default")


def opened(settings: Settings, table: Table) -> DeltaTable:
    address = f"s3://{settings.bucket}/{table.layer}/{table.name}"
    return DeltaTable(address, storage_options=delta_options(settings))


# --- alone ----------------------------------------------------------------------------------------------------------


def test_a_table_is_made_as_it_is_declared_and_once(settings: Settings, small: SmallTables, table: Table) -> None:
    small.append(table, rows("a"))
    small.create(table)
    found = opened(settings, table)
    assert found.version() == 1
    assert json.loads(found.schema().to_json()) == json.loads(table.schema.json())
    assert found.metadata().partition_columns == ["day"]
    assert found.metadata().configuration == properties_of(table)


def test_rows_come_back_as_they_were_appended(settings: Settings, small: SmallTables, table: Table) -> None:
    """Columns that are left out are NULL; those that are not declared are left out."""
    small.append(table, rows("a").append_column("other", pa.array([1])), mark="first")
    whole = ("b", 1.5, ["x", "y"], NOON + timedelta(microseconds=1), TUESDAY)
    small.append(table, arrow_rows(table, [whole]), mark="second")
    found = sorted(SmallTables(settings).read(table).to_pylist(), key=lambda row: row["name"])
    expected = [("a", None, None, NOON, MONDAY), whole]
    assert found == [dict(zip(table.columns, row, strict=True)) for row in expected]
    assert named(small.read(table, [TUESDAY])) == ["b"]
    assert named(small.read(table, [])) == []


def test_the_history_tells_marks_and_rows(settings: Settings, small: SmallTables, table: Table) -> None:
    small.append(table, rows("a", "b"), mark="two")
    small.append(table, rows("c"))
    small.overwrite(table, rows("d"), mark="all")
    spark: Any = None
    commits = Lake(spark, settings).history(table, NOON)
    assert [(commit.version, commit.mark, commit.rows) for commit in commits] == [
        (3, "all", 1), (2, "", 1), (1, "two", 2), (0, "", 0),
    ]  # fmt: skip
    assert [each["version"] for each in small.history(table, 2)] == [3, 2]


def test_who_knows_less_columns_than_the_table_adds_rows_all_the_same(
    settings: Settings, small: SmallTables, table: Table
) -> None:
    """And who opened it before the column came."""
    wider = replace(table, schema=StructType([*SCHEMA.fields, column("size", DoubleType(), "How large")]))
    other = SmallTables(settings)
    other.append(table, rows("a"))
    small.add_columns(wider, ["size"])
    other.append(table, rows("b"))
    SmallTables(settings).append(table, rows("c"))
    assert [row["size"] for row in small.read(wider).to_pylist()] == [None, None, None]


def test_small_files_of_some_days_are_merged(small: SmallTables, table: Table) -> None:
    for name in "abc":
        small.append(table, rows(name))
        small.append(table, rows(name, day=TUESDAY))
    assert small.compact(table, [MONDAY]) == (3, 1)
    assert small.compact(table, []) == (0, 0)
    assert small.compact(table) == (3, 1)
    assert named(small.read(table)) == ["a", "a", "b", "b", "c", "c"]


def test_an_append_says_that_it_looked_at_nothing(small: SmallTables, table: Table) -> None:
    """Spark takes it for no conflict with rows that it replaces meanwhile."""
    small.append(table, rows("a"), mark="first")
    small.overwrite(table, rows("b"))
    assert [each.get("isBlindAppend") for each in small.history(table, 2)] == [None, True]


def test_overwriting_leaves_no_other_row(small: SmallTables, table: Table) -> None:
    small.append(table, rows("a"))
    small.overwrite(table, rows("b", day=TUESDAY))
    assert named(small.read(table)) == ["b"]
    small.overwrite(table, rows())
    assert named(small.read(table)) == []


def test_replacing_days_leaves_the_others(small: SmallTables, table: Table) -> None:
    small.append(table, rows("a", "b"))
    small.append(table, rows("c", day=TUESDAY))
    seen: list[list[str]] = []

    def changed(known: pa.Table) -> pa.Table:
        seen.append(named(known))
        return rows("d")

    small.replace_days(table, [MONDAY], changed, mark="monday")
    assert (seen, named(small.read(table))) == ([["a", "b"]], ["c", "d"])
    small.replace_days(table, [TUESDAY, MONDAY], lambda known: known.slice(0, 0))
    assert named(small.read(table)) == []
    small.replace_days(table, [], changed)
    assert [each.get("userMetadata") for each in small.history(table, 2)] == [None, "monday"]


def test_changing_all_rows_keeps_what_others_append_meanwhile(
    settings: Settings, small: SmallTables, table: Table
) -> None:
    small.append(table, rows("a", "b"))
    other, calls = SmallTables(settings), count()

    def without_a(known: pa.Table) -> pa.Table:
        if next(calls) == 0:
            other.append(table, rows("c"))
        return known.filter(pa.array([name != "a" for name in known.column("name").to_pylist()]))

    small.change(table, without_a)
    assert named(small.read(table)) == ["b", "c"]
    version = opened(settings, table).version()
    small.change(table, lambda _known: None)
    assert opened(settings, table).version() == version


def test_replacing_a_partition_leaves_the_others(small: SmallTables, table: Table) -> None:
    small.append(table, rows("a"))
    small.append(table, rows("b", day=TUESDAY))
    small.replace(table, rows("c"), f"day = '{MONDAY}'")
    assert named(small.read(table)) == ["b", "c"]


def test_a_column_is_added_to_rows_that_are_there(settings: Settings, small: SmallTables, table: Table) -> None:
    """Also for who had opened the table before."""
    other = SmallTables(settings)
    other.append(table, rows("a"))
    wider = replace(table, schema=StructType([*SCHEMA.fields, column("size", DoubleType(), "How large")]))
    small.add_columns(wider, ["size"])
    other.append(wider, rows("b").append_column("size", pa.array([2.5])))
    found = sorted(small.read(wider).to_pylist(), key=lambda row: row["name"])
    assert [(row["name"], row["size"]) for row in found] == [("a", None), ("b", 2.5)]
    assert small.read(wider).column_names == wider.columns
    assert json.loads(opened(settings, table).schema().to_json()) == json.loads(wider.schema.json())


def test_a_column_of_another_type_is_refused(table: Table) -> None:
    money = column("amount", DecimalType(38, 9), "How much")
    other = replace(table, schema=StructType([money if one.name == "amount" else one for one in SCHEMA.fields]))
    with pytest.raises(ShoplakeError, match="never changes"):
        missing_columns(table, other.schema)


def test_a_file_may_have_the_column_of_its_partition(
    settings: Settings, small: SmallTables, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's UPDATE writes it."""
    whole = commits.shaped(rows("a"), pa.schema(opened(settings, table).schema().to_arrow()))
    with monkeypatch.context() as patched:
        patched.setattr(commits, "_parts", lambda _table, _rows: [({"day": str(MONDAY)}, whole)])
        small.append(table, whole)
    small.replace_days(table, [MONDAY], adding("b"))
    assert SmallTables(settings).read(table, [MONDAY]).select(["name", "day"]).to_pylist() == [
        {"name": name, "day": MONDAY} for name in "ab"
    ]


def test_properties_are_written_when_they_differ(settings: Settings, small: SmallTables, table: Table) -> None:
    small.set_properties(table, properties_of(table))
    assert opened(settings, table).version() == 0
    small.set_properties(table, properties_of(table) | {"delta.checkpointInterval": "7"})
    assert opened(settings, table).metadata().configuration["delta.checkpointInterval"] == "7"


def test_compaction_and_vacuum_keep_all_rows(settings: Settings, small: SmallTables, table: Table) -> None:
    names = [f"row{number}" for number in range(6)]
    for name in names:
        small.append(table, rows(name))
    assert small.compact(table) == (6, 1)
    assert small.compact(table) == (0, 0)
    small.vacuum(table)
    assert named(SmallTables(settings).read(table)) == names
    kept = len(opened(settings, table).file_uris())
    assert kept == 1


# --- several at once ------------------------------------------------------------------------------------------------


def test_of_many_writers_no_row_is_lost(settings: Settings, small: SmallTables, table: Table) -> None:
    start = threading.Barrier(4)

    def write(writer: int) -> None:
        own = SmallTables(settings)
        start.wait()
        for number in range(10):
            own.append(table, rows(f"{writer}-{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert named(small.read(table)) == sorted(f"{writer}-{number}" for writer in range(4) for number in range(10))


def test_threads_may_share_it(small: SmallTables, table: Table) -> None:
    def write(number: int) -> None:
        small.replace_days(table, [MONDAY], adding(f"replaced{number}"))
        small.append(table, rows(f"appended{number}"))
        assert f"appended{number}" in named(small.read(table))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(8)))
    expected = sorted(f"{way}{number}" for way in ("appended", "replaced") for number in range(8))
    assert named(small.read(table)) == expected


@pytest.mark.parametrize("before", [[], ["old"]], ids=["an empty day", "a day with rows"])
def test_who_replaces_a_day_meanwhile_loses_nothing(
    settings: Settings, small: SmallTables, table: Table, before: list[str]
) -> None:
    """The later one reads, merges and writes again."""
    small.append(table, rows(*before))
    other, calls = SmallTables(settings), []

    def changed(known: pa.Table) -> pa.Table:
        if not calls:
            other.replace_days(table, [MONDAY], adding("theirs"))
        calls.append(named(known))
        return adding("ours")(known)

    small.replace_days(table, [MONDAY], changed)
    assert calls == [before, [*before, "theirs"]]
    assert named(other.read(table)) == sorted([*before, "ours", "theirs"])


@pytest.mark.parametrize("theirs", ["append", "replace", "overwrite", "compact"])
def test_who_replaces_a_day_again_without_a_look_loses_nothing(
    settings: Settings, small: SmallTables, table: Table, theirs: str
) -> None:
    """The rows of its own last commit are known; what others wrote since is noticed by the commit."""
    other, seen = SmallTables(settings), []

    def changed(known: pa.Table) -> pa.Table:
        seen.append(named(known))
        return adding(f"ours{len(seen)}")(known)

    small.append(table, rows("old"))
    small.replace_days(table, [MONDAY], changed)
    small.replace_days(table, [MONDAY], changed)
    assert seen == [["old"], ["old", "ours1"]]
    match theirs:
        case "append":
            other.append(table, rows("theirs"))
        case "replace":
            other.replace_days(table, [MONDAY], adding("theirs"))
        case "overwrite":
            other.overwrite(table, rows("theirs"))
        case "compact":
            other.compact(table)
    known = named(other.read(table))
    small.replace_days(table, [MONDAY], changed)
    assert seen[-1] == known
    assert named(other.read(table)) == sorted([*known, f"ours{len(seen)}"])


def test_own_appends_are_among_the_rows_that_are_replaced(small: SmallTables, table: Table) -> None:
    small.replace_days(table, [MONDAY], adding("first"))
    small.append(table, rows("second"))
    small.replace_days(table, [MONDAY], adding("third"))
    assert named(small.read(table)) == ["first", "second", "third"]


def test_an_own_overwrite_is_what_is_replaced_next(small: SmallTables, table: Table) -> None:
    small.replace_days(table, [MONDAY], adding("first"))
    small.overwrite(table, rows("other"))
    small.replace_days(table, [MONDAY], adding("second"))
    assert named(small.read(table)) == ["other", "second"]


def test_of_two_who_overwrite_in_turn_the_last_one_stays(settings: Settings, small: SmallTables, table: Table) -> None:
    other = SmallTables(settings)
    for number in range(3):
        for writer, name in ((small, "ours"), (other, "theirs")):
            writer.overwrite(table, rows(f"{name}{number}"))
            assert named(SmallTables(settings).read(table)) == [f"{name}{number}"]


def test_two_who_replace_other_days_do_not_disturb_each_other(
    settings: Settings, small: SmallTables, table: Table
) -> None:
    other = SmallTables(settings)

    def changed(known: pa.Table) -> pa.Table:
        other.replace_days(table, [TUESDAY], adding("theirs", TUESDAY))
        return adding("ours")(known)

    small.replace_days(table, [MONDAY], changed)
    assert named(small.read(table)) == ["ours", "theirs"]


def test_an_append_to_a_day_that_is_being_replaced_is_not_lost(
    settings: Settings, small: SmallTables, table: Table
) -> None:
    other, calls = SmallTables(settings), count()

    def changed(known: pa.Table) -> pa.Table:
        if next(calls) == 0:
            other.append(table, rows("theirs"))
        return adding("ours")(known)

    small.replace_days(table, [MONDAY], changed)
    assert named(small.read(table)) == ["ours", "theirs"]


def test_a_table_whose_log_was_cleaned_up_is_opened_anew(
    settings: Settings, small: SmallTables, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind = [SmallTables(settings) for _ in range(3)]
    for each in left_behind:
        assert named(each.read(table)) == []
    names = [f"row{number}" for number in range(5)]
    for name in names:
        small.append(table, rows(name))
    opened(settings, table).create_checkpoint()
    small.append(table, rows("row5"))
    client = s3_client(settings)
    assert log_cleanup.clean(client, settings.bucket, table, datetime.now(UTC) + timedelta(hours=1)) > 0
    monkeypatch.setattr(small_tables, "FRESH_SECONDS", 0.0)
    assert named(left_behind[0].read(table)) == [*names, "row5"]
    left_behind[1].replace_days(table, [MONDAY], adding("row6"))
    assert named(small.read(table)) == [*names, "row5", "row6"]


def test_an_append_long_after_the_last_look_is_not_lost(
    settings: Settings, small: SmallTables, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log after the version that it knows may have been cleaned up meanwhile."""
    late = SmallTables(settings)
    late.append(table, rows("a"))
    for name in "bcd":
        small.append(table, rows(name))
    opened(settings, table).create_checkpoint()
    client = s3_client(settings)
    log_cleanup.clean(client, settings.bucket, table, datetime.now(UTC) + timedelta(hours=1))
    monkeypatch.setattr(small_tables, "FRESH_SECONDS", 0.0)
    late.append(table, rows("e"))
    assert named(SmallTables(settings).read(table)) == [*"abcde"]


# --- the server -----------------------------------------------------------------------------------------------------


def test_a_server_without_conditional_puts_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        small_tables.require_conditional_put(settings)

    class Careless:
        def put_object(self, **_: Any) -> None: ...

    monkeypatch.setattr(small_tables, "s3_client", lambda _settings: Careless())
    with pytest.raises(UsageError, match="conditional PUT"):
        small_tables.require_conditional_put(settings)
