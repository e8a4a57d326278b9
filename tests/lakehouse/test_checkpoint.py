"""Which checkpoint generation goes on, and where a new one begins, told against a book that is only numbers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lakehouse.stream import recovery
from lakehouse.stream.checkpoint import open_generation
from lakehouse.stream.micro_batch import Start


@dataclass
class Book:
    """What the lake knows: (generation, batch id) rows and next offsets."""

    rows: list[tuple[str, int]] = field(default_factory=list)
    booked: recovery.Offsets = field(default_factory=dict)
    bronze: recovery.Offsets = field(default_factory=dict)

    def read(self) -> recovery.Book:
        return recovery.Book(self.booked, dict(sorted(self.rows)))  # the highest batch of a generation comes last


@pytest.fixture
def book() -> Book:
    return Book()


Open = Callable[[], tuple[Start, Path]]


@pytest.fixture
def open_it(tmp_path: Path, book: Book) -> Open:
    return lambda: open_generation(book.read(), book.bronze or book.booked, tmp_path / "stream")


def run_batches(book: Book, start: Start, checkpoint: Path, count: int, booked: int | None = None) -> None:
    """Plan `count` batches, as Spark does, and book them (or fewer)."""
    (checkpoint / "offsets").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        plan = json.dumps({"shop.clicks": {"0": 10 * (number + 1)}})
        (checkpoint / "offsets" / str(number)).write_text(f"v1\n{{}}\n{plan}\n{number}")
    (checkpoint / "offsets" / ".0.crc").write_text("")
    done = count if booked is None else booked
    book.rows += [(start.generation, start.first_batch_id + number) for number in range(done)]


def test_an_empty_lake_begins_at_the_beginning(open_it: Open) -> None:
    start, checkpoint = open_it()
    assert (start.first_batch_id, start.starting_offsets, start.bronze_offsets) == (0, {}, {})
    assert checkpoint.parent.name == start.generation


def goes_on(first: tuple[Start, Path], again: tuple[Start, Path], booked_through: int) -> bool:
    """Whether it is the same generation, which knows how far it is in the book."""
    booked = f"{first[0].generation}:{booked_through}" if booked_through >= 0 else ""
    return again == (replace(first[0], booked_through=booked_through, booked=booked), first[1])


def test_a_current_checkpoint_goes_on(open_it: Open, book: Book) -> None:
    first = open_it()
    assert goes_on(first, open_it(), booked_through=-1)
    run_batches(book, *first, count=3)
    assert goes_on(first, open_it(), booked_through=2)


def test_a_batch_that_was_planned_but_not_booked_is_repeated(open_it: Open, book: Book) -> None:
    first = open_it()
    run_batches(book, *first, count=3, booked=2)
    assert goes_on(first, open_it(), booked_through=1)


def test_old_plans_that_spark_deleted_are_no_gap(open_it: Open, book: Book) -> None:
    first = open_it()
    run_batches(book, *first, count=5)
    (first[1] / "offsets" / "0").unlink()
    (first[1] / "offsets" / "1").unlink()
    assert goes_on(first, open_it(), booked_through=4)


def test_a_lost_checkpoint_is_replaced_where_the_book_ends(open_it: Open, book: Book) -> None:
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=3)
    book.booked = book.bronze = {"shop.clicks": {"0": 30}}
    shutil.rmtree(checkpoint.parent)
    again, _ = open_it()
    assert again.generation != start.generation
    assert (again.first_batch_id, again.starting_offsets, again.bronze_offsets) == (3, {"shop.clicks": {"0": 30}}, {})


def test_an_emptied_checkpoint_is_replaced(open_it: Open, book: Book) -> None:
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=1)
    shutil.rmtree(checkpoint)
    assert open_it()[0].first_batch_id == 1


def test_a_new_generation_knows_what_bronze_has_beyond_the_book(open_it: Open, book: Book) -> None:
    book.booked, book.bronze = {"shop.clicks": {"0": 30}}, {"shop.clicks": {"0": 35}, "shop.searches": {"1": 2}}
    start, _ = open_it()
    assert (start.starting_offsets, start.bronze_offsets) == (book.booked, book.bronze)


def test_a_kept_checkpoint_knows_what_bronze_has_beyond_the_book(open_it: Open, book: Book) -> None:
    """Another generation may have written it, whose checkpoint is lost."""
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=3, booked=2)
    book.booked, book.bronze = {"shop.clicks": {"0": 20}}, {"shop.clicks": {"0": 30}}
    again, _ = open_it()
    assert again.generation == start.generation
    assert (again.starting_offsets, again.bronze_offsets) == (book.booked, book.bronze)


def test_an_old_copy_that_is_behind_the_book_is_not_continued(open_it: Open, book: Book) -> None:
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=4)
    for number in (2, 3):
        (checkpoint / "offsets" / str(number)).unlink()
    again, _ = open_it()
    assert (again.generation != start.generation, again.first_batch_id) == (True, 4)


def test_a_checkpoint_with_a_gap_is_not_continued(open_it: Open, book: Book) -> None:
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=4)
    (checkpoint / "offsets" / "2").unlink()
    assert open_it()[0].generation != start.generation


def test_a_checkpoint_is_not_continued_once_a_newer_generation_wrote(open_it: Open, book: Book) -> None:
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=2)
    book.rows.append(("another", 2))
    again, _ = open_it()
    assert (again.generation != start.generation, again.first_batch_id) == (True, 3)


def test_of_two_generations_the_one_that_wrote_last_goes_on(open_it: Open, book: Book) -> None:
    first = open_it()
    run_batches(book, *first, count=2)
    aside = first[1].with_name("aside")
    first[1].rename(aside)
    second = open_it()
    run_batches(book, *second, count=2)
    aside.rename(first[1])
    os.utime(first[1].parent)
    assert second[0].first_batch_id == 2
    assert goes_on(second, open_it(), booked_through=3)


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"generation": "x"}', '{"who": 1}'])
def test_an_unreadable_start_is_no_generation(open_it: Open, spoilt: str) -> None:
    start, checkpoint = open_it()
    (checkpoint.parent / "generation.json").write_text(spoilt)
    assert open_it()[0].generation != start.generation


def test_a_checkpoint_that_forgot_a_batch_cut_off_before_the_book_is_not_continued(open_it: Open, book: Book) -> None:
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=3)
    book.booked, book.bronze = {"shop.clicks": {"0": 30}}, {"shop.clicks": {"0": 37}}
    again, _ = open_it()
    assert again.generation != start.generation
    assert (again.starting_offsets, again.bronze_offsets) == (book.booked, book.bronze)


def test_a_plan_that_was_cut_off_is_not_continued(open_it: Open, book: Book) -> None:
    start, checkpoint = open_it()
    run_batches(book, start, checkpoint, count=3)
    (checkpoint / "offsets" / "2").write_text("")
    assert open_it()[0].generation != start.generation
