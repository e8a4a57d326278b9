"""The life of runs as a state machine: whatever callers, workers and the reaper do, in whatever order."""

import itertools
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, update

from lakehouse.runs.claims import Claims, LostRun
from lakehouse.runs.models import IdempotencyRow, LogLine, Run, RunEvent
from lakehouse.runs.registry import RunRegistry
from lakehouse.runs.states import MOVES, TERMINAL, State
from tests.support.registry_calls import JOBS, Parameters, values

HELD = {State.running, State.cancelling}


def test_the_ends_are_ends_and_everything_else_leads_to_one() -> None:
    assert {state for state, targets in MOVES.items() if not targets} == TERMINAL
    assert set(MOVES) == set(State)
    assert [state for state, targets in MOVES.items() if State.running in targets] == [State.queued]
    assert [state for state, targets in MOVES.items() if State.lost in targets] == [State.running]
    for state in set(State) - TERMINAL:
        reached, seen = {state}, set()
        while reached - seen:
            seen |= reached
            reached = {target for one in reached for target in MOVES[one]}
        assert seen & TERMINAL


class Lives(RuleBasedStateMachine):
    """What is known here (`states`, `attempts`) has to be what the registry says."""

    registry: RunRegistry

    @initialize()
    def empty(self) -> None:
        with self.registry.database.writing() as session:
            for table in (IdempotencyRow, RunEvent, LogLine, Run):
                session.execute(delete(table))
        self.claims = Claims(self.registry)
        self.states: dict[str, State] = {}
        self.held: dict[str, Run] = {}
        self.given_up: list[Run] = []

    @rule(job=st.sampled_from(sorted(JOBS)))
    def submit(self, job: str) -> None:
        made = self.registry.submit(JOBS[job], Parameters(), caller="me")
        assert made.is_new and made.run.state == State.queued and made.run.attempt == 0
        self.states[made.run.id] = State.queued

    @rule(data=st.data())
    @precondition(lambda self: self.states)
    def cancel(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.states)))
        if self.states[run_id] == State.queued:
            self.states[run_id] = State.cancelled
        elif self.states[run_id] == State.running:
            self.states[run_id] = State.cancelling
        assert self.registry.cancel(run_id, "asked").state == self.states[run_id]

    @rule(worker=st.sampled_from(["w1", "w2"]), with_spark=st.booleans())
    def take(self, worker: str, with_spark: bool) -> None:
        run = self.claims.take(worker, "session", lambda: with_spark)
        if run is None:
            return
        assert self.states[run.id] == State.queued and run.state == State.running
        assert with_spark or not JOBS[run.job].needs_spark
        assert (run.worker, run.session_id) == (worker, "session")
        self.states[run.id], self.held[run.id] = State.running, run

    @rule(data=st.data(), to=st.sampled_from(sorted(TERMINAL)))
    @precondition(lambda self: self.held)
    def end(self, data: st.DataObject, to: State) -> None:
        run = self._drawn(data)
        is_legal = to in MOVES[self.states[run.id]]
        assert self.claims.end(run, to, "over", result={"rows": 1}) is is_legal
        if is_legal:
            self._let_go(run, to)

    @rule(data=st.data(), counts=st.booleans())
    @precondition(lambda self: self.held)
    def again(self, data: st.DataObject, counts: bool) -> None:
        run = self._drawn(data)
        is_last = counts and run.attempt >= run.max_attempts
        expected = self.states[run.id] == State.running and not is_last
        assert self.claims.again(run, "Spark is gone", counts=counts) is expected
        if expected:
            self._let_go(run, State.queued)

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def reconcile(self, data: st.DataObject) -> None:
        run = self._drawn(data)
        seen = self.registry.get(run.id)
        assert seen is not None
        last = State.queued if run.attempt < run.max_attempts else State.lost
        expected = State.cancelled if self.states[run.id] == State.cancelling else last
        assert self.claims.reconcile(seen, "gone") == expected
        assert self.claims.reconcile(seen, "gone") is None
        self._let_go(run, expected)

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def beat(self, data: st.DataObject) -> None:
        run = self._drawn(data)
        assert self.claims.beat(run, {"step": 1}) == self.states[run.id]

    @rule()
    def waiting_is_over(self) -> None:
        with self.registry.database.writing() as session:
            session.execute(update(Run).values(not_before=None))

    @rule(data=st.data())
    @precondition(lambda self: self.given_up)
    def a_worker_that_lost_its_run_can_do_nothing(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.given_up))
        was = self.registry.get(run.id)
        with pytest.raises(LostRun):
            self.claims.beat(run)
        assert not self.claims.again(run, "late")
        assert self.claims.reconcile(run, "late") is None
        for end in TERMINAL:
            with pytest.raises(LostRun):
                self.claims.end(run, end, "late")
        assert values(self.registry.get(run.id)) == values(was)

    def _drawn(self, data: st.DataObject) -> Run:
        return self.held[data.draw(st.sampled_from(sorted(self.held)))]

    def _let_go(self, run: Run, to: State) -> None:
        self.states[run.id] = to
        # An ended run keeps its last worker's name: only one that was given back has a new owner to fear.
        if to == State.queued:
            self.given_up.append(run)
        del self.held[run.id]

    @invariant()
    def the_registry_agrees(self) -> None:
        found = {run.id: run for run in self.registry.list(limit=1000)}
        assert {run_id: run.state for run_id, run in found.items()} == self.states
        for run in found.values():
            assert (run.finished_at is not None) is run.is_terminal
            assert (run.worker is None) or run.attempt > 0

    def teardown(self) -> None:
        """Events are only ever added: those of the whole life tell only legal moves."""
        for run_id, state in self.states.items():
            told = [event.state for event in self.registry.events(run_id) if event.kind == "state"]
            assert told[0] == State.queued and told[-1] == state
            assert all(after in MOVES[now] for now, after in itertools.pairwise(told))

    @invariant()
    def no_two_runs_under_way_write_the_same_table(self) -> None:
        under_way = self.registry.list(states=HELD, limit=1000)
        written = [table for run in under_way for table in JOBS[run.job].locks]
        assert {run.id for run in under_way} == set(self.held) and len(written) == len(set(written))


def test_runs_live_and_end_legally(registry: RunRegistry) -> None:
    machine: Any = type("Machine", (Lives,), {"registry": registry})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
