"""The registry's promises, also to many threads and several processes at once."""

import itertools
import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, update

from api import keys
from lakehouse.runs.claims import Claims, Line, LostRun, pause_seconds
from lakehouse.runs.database import RegistryAway
from lakehouse.runs.models import AuditRow, IdempotencyRow, Run, ScheduleRow, new_id
from lakehouse.runs.registry import KeyReused, QueueFull, RunRegistry
from lakehouse.runs.states import State
from lakehouse.settings import Settings
from tests.support.registry_calls import (
    JOBS,
    Parameters,
    open_new,
    reconcile_all,
    registry_at,
    settings_for,
    submit_same_key,
    submit_until_full,
    values,
    work_off,
)

DATA = Path(__file__).parents[3] / "tests" / "data"
OLD_KEY = "slk_b0b0514245dfc0e2_Xs0Jy9xJU7Uavm6vZ1yl5CNPU7BcpP4os4jiJG4gl6E"  # pragma: allowlist secret


def submit(registry: RunRegistry, job: str = "a", **how: object) -> Run:
    return registry.submit(JOBS[job], Parameters(), **{"caller": "me", **how}).run  # type: ignore[arg-type]


# One caller at a time


def test_a_run_is_kept_as_it_was_asked_for(registry: RunRegistry) -> None:
    before = datetime.now(UTC)
    made = registry.submit(JOBS["a"], Parameters(number=7), caller="me", trigger="cli").run
    assert (made.job, made.parameters, made.caller, made.trigger) == ("a", {"number": 7}, "me", "cli")
    assert before - timedelta(milliseconds=1) <= made.created_at <= datetime.now(UTC)
    assert values(registry.get(made.id)) == values(made) and registry.get("other") is None
    assert [event.cause for event in registry.events(made.id)] == ["submitted by me (cli)"]


def test_a_registry_of_an_older_release_goes_on(settings: Settings) -> None:
    """The file is what Alembic's last revision left behind, with a finished run, a waiting one, a key and tables that
    are not used any more."""
    settings.data_dir.mkdir()
    with closing(sqlite3.connect(settings.registry_file)) as old:
        old.executescript((DATA / "registry-0.1.sql").read_text())
    for _ in range(2):
        registry = registry_at(settings)
        waiting, done = registry.list()
        assert (done.state, done.result, done.attempt) == (State.succeeded, {"rows_written": 3}, 1)
        assert [event.state for event in registry.events(done.id)] == ["queued", "running", "running", "succeeded"]
        assert [(line.message, line.fields) for line in registry.logs(done.id)] == [("one", {"rows": 2})]
        assert waiting.state == State.queued and waiting.created_at.tzinfo is UTC
        assert keys.recognise(registry.database, OLD_KEY).name == "reporting"  # type: ignore[union-attr]
        with registry.database.reading() as session:
            assert session.get(ScheduleRow, "maintenance").paused  # type: ignore[union-attr]
        assert columns(registry) == columns(registry_at(settings_for(settings.data_dir / "new")))
        assert not {"signing_keys", "table_locks"} & set(columns(registry))
        registry.close()
    taken = Claims(registry_at(settings)).take("w", "s")
    assert taken is not None and taken.id == waiting.id


def columns(registry: RunRegistry) -> dict[str, set[str]]:
    """The columns of each table that the registry's database has."""
    found = inspect(registry.database.engine)
    return {
        table: {column["name"] for column in found.get_columns(table)}
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def test_ids_sort_by_their_time() -> None:
    made = [new_id() for _ in range(200)]
    assert len(set(made)) == 200 and [one[:8] for one in made] == sorted(one[:8] for one in made)


def test_a_key_stands_for_one_run_per_caller(registry: RunRegistry) -> None:
    first = submit(registry, idempotency=("key", "body"))
    again = registry.submit(JOBS["a"], Parameters(), caller="me", idempotency=("key", "body"))
    assert values(again.run) == values(first) and not again.is_new
    assert submit(registry, caller="you", idempotency=("key", "body")).id != first.id
    with pytest.raises(KeyReused, match=first.id):
        submit(registry, "b", idempotency=("key", "other body"))
    assert len(registry.list()) == 2


def test_a_key_is_kept_a_day_and_then_free(registry: RunRegistry) -> None:
    first = submit(registry, idempotency=("key", "body"))

    def age(hours: float) -> None:
        with registry.database.writing() as session:
            session.execute(update(IdempotencyRow).values(created_at=datetime.now(UTC) - timedelta(hours=hours)))
        Claims(registry).tidy()

    age(24.1)
    assert submit(registry, idempotency=("key", "body")).id == first.id
    age(49)
    assert submit(registry, idempotency=("key", "body")).id != first.id


def test_a_refusal_leaves_nothing_behind(tmp_path: Path) -> None:
    registry = registry_at(settings_for(tmp_path, max_queued_runs=1))
    submit(registry)
    with pytest.raises(QueueFull, match="1 runs are waiting"):
        submit(registry, idempotency=("key", "body"))
    assert len(registry.list()) == 1
    Claims(registry).take("w", "s")
    assert registry.submit(JOBS["a"], Parameters(), caller="me", idempotency=("key", "body")).is_new


def test_lists_are_newest_first_and_filtered(registry: RunRegistry) -> None:
    made = []
    for number in range(6):
        run = submit(registry, "ab"[number % 2], caller=f"caller{number % 3}")
        # The order within a millisecond is left open.
        if made:
            while run.id[:13] <= made[-1].id[:13]:
                registry.cancel(run.id, "made too fast")
                run = submit(registry, "ab"[number % 2], caller=f"caller{number % 3}")
        made.append(run)
    ids = [run.id for run in made]
    queued = {"states": ("queued",)}
    assert [run.id for run in registry.list(**queued)] == ids[::-1]
    assert [run.id for run in registry.list(**queued, limit=2)] == ids[:3:-1]
    assert [run.id for run in registry.list(**queued, limit=2, before=ids[4])] == [ids[3], ids[2]]
    assert [run.id for run in registry.list(**queued, job="b")] == ids[1::2][::-1]
    assert [run.id for run in registry.list(**queued, caller="caller0")] == [ids[3], ids[0]]
    assert [run.id for run in registry.list(**queued, created_after=made[4].created_at)] == [ids[5], ids[4]]
    assert [run.id for run in registry.list(**queued, created_before=made[1].created_at)] == [ids[0]]
    assert registry.list(states=("running", "lost")) == []
    assert registry.counts()["a", "queued"] == 3 and registry.counts()["b", "queued"] == 3
    with pytest.raises(ValueError, match="flying"):
        registry.list(states=("flying",))


def test_events_and_logs_go_on_from_where_the_reader_was(registry: RunRegistry) -> None:
    claims = Claims(registry)
    submit(registry)
    run = claims.take("w", "s")
    assert run is not None
    claims.beat(run, {"step": 1}, [Line("one"), Line("two", "warning", {"rows": 2})])
    claims.beat(run, {"step": 2})
    claims.end(run, State.succeeded, "done", result={"rows": 3}, lines=[Line("three")])
    events = registry.events(run.id)
    assert [(event.kind, event.state, event.data) for event in events[2:]] == [
        ("progress", "running", {"step": 1}),
        ("progress", "running", {"step": 2}),
        ("state", "succeeded", {"rows": 3}),
    ]
    assert values(*registry.events(run.id, after=events[3].seq)) == values(*events[4:])
    assert values(*registry.events(run.id, limit=2)) == values(*events[:2])
    lines = registry.logs(run.id)
    assert [(line.level, line.message, line.fields) for line in lines] == [
        ("info", "one", None),
        ("warning", "two", {"rows": 2}),
        ("info", "three", None),
    ]
    assert values(*registry.logs(run.id, after=lines[1].seq)) == values(*lines[2:])


# Workers


def test_an_older_waiting_run_is_not_overtaken_on_its_tables(registry: RunRegistry) -> None:
    claims = Claims(registry)
    first, both, late, apart = (submit(registry, name) for name in ("a", "ab", "b", "c"))
    running = claims.take("w", "s")
    assert running is not None and running.id == first.id
    other = claims.take("w", "s")
    assert other is not None and other.id == apart.id  # `late` would delay `both`, which waits for longer
    assert claims.take("w", "s") is None
    claims.end(running, State.succeeded, "done", result={})
    taken = claims.take("w", "s")
    assert taken is not None and taken.id == both.id
    claims.end(taken, State.succeeded, "done", result={})
    assert claims.take("w", "s").id == late.id  # type: ignore[union-attr]


def test_no_more_than_allowed_run_at_once(tmp_path: Path) -> None:
    registry = registry_at(settings_for(tmp_path, max_parallel_runs=2))
    for name in ("a", "b", "c"):
        submit(registry, name)
    claims = Claims(registry)
    first = claims.take("w", "s")
    assert first and claims.take("w", "s") and claims.take("w", "s") is None
    registry.cancel(first.id, "asked")
    assert claims.take("w", "s") is None, "a run that is being cancelled still takes its place"
    claims.end(first, State.cancelled, "stopped")
    assert claims.take("w", "s")


def test_an_attempt_waits_for_longer_each_time(registry: RunRegistry) -> None:
    assert [pause_seconds(attempt) for attempt in (1, 2, 3, 9)] == [1, 2, 4, 30]
    claims = Claims(registry)
    submit(registry)
    run = claims.take("w", "s")
    assert run is not None and claims.again(run, "Spark is gone")
    waiting = registry.get(run.id)
    assert waiting is not None and waiting.not_before is not None and waiting.worker is None
    assert waiting.not_before > datetime.now(UTC) and claims.take("w", "s") is None
    with registry.database.writing() as session:
        session.execute(update(Run).values(not_before=datetime.now(UTC)))
    second = claims.take("w", "s2")
    assert second is not None and (second.attempt, second.session_id) == (2, "s2")


def test_a_second_attempt_by_the_same_worker_owns_the_run_alone(registry: RunRegistry) -> None:
    claims = Claims(registry)
    submit(registry)
    first = claims.take("w", "s1")
    assert first is not None and claims.again(first, "the worker ends", counts=False)
    second = claims.take("w", "s2")
    assert second is not None and second.attempt == 2
    for change in (
        lambda: claims.beat(first, {"step": 9}),
        lambda: claims.end(first, State.succeeded, "late", result={}),
    ):
        with pytest.raises(LostRun):
            change()
    assert not claims.again(first, "late", counts=False) and claims.reconcile(first, "late") is None
    assert values(registry.get(first.id)) == values(second)


def test_silence_is_noticed(registry: RunRegistry) -> None:
    claims = Claims(registry)
    submit(registry)
    run = claims.take("w", "s")
    assert run is not None and claims.silent(30) == []
    with registry.database.writing() as session:
        session.execute(update(Run).values(heartbeat_at=datetime.now(UTC) - timedelta(seconds=31)))
    silent = claims.silent(30)
    assert [one.id for one in silent] == [run.id]
    claims.beat(run)
    assert claims.reconcile(silent[0], "gone") is None, "it has shown meanwhile that it lives"


def test_old_runs_are_forgotten_with_all_they_left(registry: RunRegistry) -> None:
    old, young = submit(registry), submit(registry)
    registry.cancel(old.id, "asked")
    registry.cancel(young.id, "asked")
    with registry.database.writing() as session:
        session.execute(update(Run).where(Run.id == old.id).values(finished_at=datetime.now(UTC) - timedelta(days=91)))
    Claims(registry).tidy()
    assert registry.get(old.id) is None and registry.events(old.id) == []
    assert registry.get(young.id) is not None and registry.events(young.id)


def test_the_audit_trail_is_kept_for_a_year_and_a_month(settings: Settings) -> None:
    registry = registry_at(settings)
    for days in (399, 401):
        with registry.database.writing() as session:
            at = datetime.now(UTC) - timedelta(days=days)
            target = f"{days} days ago"
            session.add(AuditRow(action="run.start", target=target, outcome="done", caller="me", at=at))
    Claims(registry).tidy()
    with registry.database.reading() as session:
        kept = set(session.scalars(select(AuditRow.target).where(AuditRow.caller == "me")))
    assert kept == {"399 days ago"}


def test_a_database_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    registry = registry_at(settings)
    registry.close()
    for path in settings.data_dir.glob("registry.sqlite3*"):
        path.unlink()
    settings.registry_file.mkdir()
    for ask in (registry.counts, lambda: submit(registry), lambda: registry_at(settings)):
        with pytest.raises(RegistryAway, match="does not answer"):
            ask()


# Many at once


def test_one_key_from_many_threads_makes_one_run(registry: RunRegistry) -> None:
    def ask(_number: int) -> tuple[str, bool]:
        made = registry.submit(JOBS["a"], Parameters(), caller="me", idempotency=("key", "body"))
        return made.run.id, made.is_new

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(ask, range(500)))
    assert len({run_id for run_id, _ in answers}) == 1 and sum(is_new for _, is_new in answers) == 1
    assert len(registry.list()) == 1


def test_one_key_from_several_processes_makes_one_run(settings: Settings, processes: ProcessPoolExecutor) -> None:
    asked = [processes.submit(submit_same_key, settings, f"key{key}", 10) for key in range(4) for _ in range(3)]
    ids = {run_id for one in asked for run_id in one.result(120)}
    assert len(ids) == 4 and {run.id for run in registry_at(settings).list()} == ids


def test_several_processes_may_be_the_first_to_open_a_database(tmp_path: Path, processes: ProcessPoolExecutor) -> None:
    files = [tmp_path / f"{number}.sqlite3" for number in range(100)]
    with multiprocessing.Manager() as manager:
        together = manager.Barrier(3)
        opened = [processes.submit(open_new, files, together) for _ in range(3)]
        assert [one.result(120) for one in opened] == [100, 100, 100]
    with closing(sqlite3.connect(tmp_path / "0.sqlite3")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_queue_is_bounded_whoever_asks(tmp_path: Path, processes: ProcessPoolExecutor) -> None:
    settings = settings_for(tmp_path, max_queued_runs=20)
    asked = [processes.submit(submit_until_full, settings, 15, caller) for caller in ("me", "you", "others")]
    answers = [one.result(120) for one in asked]
    assert max(accepted for accepted, _ in answers) <= 10
    assert sum(accepted for accepted, _ in answers) == 20 and sum(refused for _, refused in answers) == 25
    assert registry_at(settings).counts() == {("a", "queued"): 20}


def test_every_run_is_worked_once_and_writers_of_a_table_never_overlap(
    settings: Settings, processes: ProcessPoolExecutor
) -> None:
    registry = registry_at(settings)
    made = {submit(registry, name).id for _ in range(10) for name in ("a", "ab", "b", "c", "none")}
    workers = [processes.submit(work_off, settings, f"w{number}") for number in range(3)]
    worked = [entry for worker in workers for entry in worker.result(120)]
    assert sorted(run_id for run_id, *_ in worked) == sorted(made)
    assert {attempt for _, _, attempt, _, _ in worked} == {1}
    for name in ("test.a", "test.b", "test.c", "job:none"):
        spans = sorted((taken, ended) for _, job, _, taken, ended in worked if name in JOBS[job].locks)
        assert len(spans) > 1 and all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def test_a_dead_workers_runs_are_reconciled_once(settings: Settings, processes: ProcessPoolExecutor) -> None:
    registry = registry_at(settings)
    for name in ("a", "b", "c", "none"):
        submit(registry, name)
    claims = Claims(registry)
    runs = [run for _ in range(4) if (run := claims.take("w", "s"))]
    registry.cancel(runs[0].id, "asked")
    counts = [one.result(120) for one in [processes.submit(reconcile_all, settings, runs) for _ in range(3)]]
    assert sum(counts) == 4
    states = sorted(run.state for run in registry.list())
    assert states == ["cancelled", "queued", "queued", "queued"]


def test_several_processes_make_the_tables_at_once(tmp_path: Path, processes: ProcessPoolExecutor) -> None:
    settings = settings_for(tmp_path)
    asked = [processes.submit(submit_same_key, settings, "key", 1) for _ in range(3)]
    assert len({one.result(120)[0] for one in asked}) == 1
