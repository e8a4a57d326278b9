"""The simulation itself: days of history, then seconds of live traffic, merged by the moment of sending."""

from __future__ import annotations

import itertools
from bisect import bisect
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import closing
from operator import attrgetter

import numpy as np
import orjson

from producer.contract import TOPIC_OF_TYPE
from producer.record import Record
from producer.simulator.calendar import DAY_MS, HOUR_MS, WEEKDAY, rfc3339, times_of_day, weekday
from producer.simulator.catalogue import Catalogue
from producer.simulator.episodes import World
from producer.simulator.geography import BY_CODE
from producer.simulator.noise import Noise
from producer.simulator.options import SimulationOptions
from producer.simulator.randomness import derive, generator, opaque_ids
from producer.simulator.scenarios import SCENARIOS
from producer.simulator.sessions import Scripts
from producer.simulator.shoppers import Population, Returning, Shopper, Visit, make_device, visit
from producer.simulator.truth import Truth

SECOND_MS = 1000
EVENTS_PER_SESSION = 6.0
"""About how long a session is; the history corrects itself day by day, live traffic second by second."""
BUSY_MS = 30 * 60_000
"""A person who has just been here does not come again within this time."""
RETURNING = 0.5
"""Share of live sessions for which a few thousand regulars are asked first, where no history says who comes."""
MOST_REMEMBERED = 400_000
"""With more people than this, those who were here longer ago than BUSY_MS are forgotten."""
WARM_UP_MS = 180_000
"""At the start of live traffic some sessions are already under way."""

Plan = tuple[int, Visit, str, orjson.Fragment]
"""An ordinary event to come: moment (epoch ms), session, type, data."""

_by_due = attrgetter("due")


def simulate(options: SimulationOptions) -> Generator[Record, None, None]:
    """Records in the order of sending, deterministic; ends with the history, the duration, the count, or never.

    Closing it early completes the file of truth.
    """
    with closing(_Simulation(options).records()) as records:
        yield from itertools.islice(records, options.count)


class _Simulation:
    def __init__(self, options: SimulationOptions) -> None:
        self._options = options
        seed, start = options.seed, options.start_ms
        # Two runs of one seed at different times must not use an event_id twice.
        self._ids = opaque_ids("e", derive(seed, start, options.now_ms, "events"))
        self._sessions = opaque_ids("s", derive(seed, start, options.now_ms, "sessions"))
        orders = opaque_ids("o", derive(seed, start, options.now_ms, "orders"))
        self._rng = generator(seed, "traffic")
        self._numbers = np.random.default_rng(derive(seed, "days"))
        catalogue = Catalogue()
        self._scripts = Scripts(self._rng, catalogue, orders)
        self._population = Population(seed)
        self._noise = Noise(options, generator(seed, "noise"), self._ids.__next__)
        self._truth = Truth(options.truth)
        episodes = generator(seed, "episodes")
        episode_scripts = Scripts(episodes, catalogue, orders)
        self._world = World(
            episodes, self._population, options.population, catalogue, episode_scripts, orders, self._sessions
        )
        self._days = range(start // DAY_MS, (options.now_ms - 1) // DAY_MS + 1) if options.history_ms else range(0)
        self._returning = Returning(seed, options.population, len(self._days))
        self._visitors: list[float] = []
        self._earliest = start if self._days else 0
        self._scenarios: list[int] = []
        self._episode_budget = 0.0
        self._plans: defaultdict[int, list[Plan]] = defaultdict(list)
        self._records: defaultdict[int, list[Record]] = defaultdict(list)
        self._bucket_ms = HOUR_MS
        self._live = False
        self._last_seen: dict[int, tuple[int, str]] = {}
        self._forget_above = MOST_REMEMBERED
        self._ordinary_share = 1 - options.duplicates - options.malformed - options.harmless - options.fraud

    def records(self) -> Generator[Record, None, None]:
        try:
            history = self._history() if self._days and not self._options.history_is_sent else ()
            for record in itertools.chain(history, self._live_traffic() if self._options.live else ()):
                self._truth.emitted(record.event_id)
                yield record
        finally:
            self._truth.close()

    # --- history -----------------------------------------------------------------------------------------------

    def _history(self) -> Iterator[Record]:
        start, end = self._options.start_ms, self._options.now_ms
        days = self._days
        chances = [self._returning.chances(n, WEEKDAY[weekday(day)]) for n, day in enumerate(days)]
        covered = [min(end, (day + 1) * DAY_MS) - max(start, day * DAY_MS) for day in days]
        expected = sum(float(c.sum()) * share / DAY_MS for c, share in zip(chances, covered, strict=True))
        wanted = self._options.history_events * self._ordinary_share / EVENTS_PER_SESSION
        made = 0
        for day, chance in zip(days, chances, strict=True):
            made += self._day(day, chance, wanted / max(expected, 1e-9))
            for hour in range(day * 24, day * 24 + 24):
                for record in self._take(hour):
                    if record.due * 1000 < end:
                        yield record

    def _day(self, day: int, chance: np.ndarray, visits_each: float) -> int:
        """Plan the sessions of one day; `visits_each` is how often a shopper comes who comes at all, on average."""
        start, end = self._options.start_ms, self._options.now_ms
        here = np.flatnonzero(self._numbers.random(chance.size) < chance * min(1.0, visits_each))
        visits = np.repeat(here, 1 + self._numbers.poisson(max(0.0, visits_each - 1), here.size))
        times = times_of_day(self._numbers, day, visits.size)
        order = np.argsort(times, kind="stable")
        events = 0
        for index, local in zip(visits[order].tolist(), times[order].tolist(), strict=True):
            shopper = self._population.shopper(index)
            within = int(local - BY_CODE[shopper.country].utc_offset * HOUR_MS) % DAY_MS
            at = day * DAY_MS + within
            if start <= at < end:
                events += self._session(shopper, at)
        begin, stop = max(start, day * DAY_MS), min(end, (day + 1) * DAY_MS)
        self._episodes(events, begin, stop)
        return events

    # --- live --------------------------------------------------------------------------------------------------

    def _live_traffic(self) -> Iterator[Record]:
        self._go_live()
        begin = self._options.now_ms
        duration_s = self._options.duration_s
        emitted, second = 0, begin // SECOND_MS
        while duration_s is None or second * SECOND_MS < begin + duration_s * 1000:
            elapsed_ms = (second + 1) * SECOND_MS - begin
            self._fill(second, elapsed_ms, round(self._options.rate * elapsed_ms / 1000) - emitted)
            for record in self._take(second):
                if duration_s is None or record.due * 1000 < begin + duration_s * 1000:
                    emitted += 1
                    yield record
            second += 1
            self._forget(second * SECOND_MS)

    def _go_live(self) -> None:
        """From buckets of an hour to buckets of a second; what is under way goes on."""
        records, plans = self._records, self._plans
        self._records, self._plans = defaultdict(list), defaultdict(list)
        self._bucket_ms, self._live = SECOND_MS, True
        for record in (record for bucket in records.values() for record in bucket):
            if record.due * 1000 >= self._options.now_ms:
                self._put(record)
        for plan in (plan for bucket in plans.values() for plan in bucket):
            if plan[0] >= self._options.now_ms:
                self._plans[plan[0] // SECOND_MS].append(plan)
        self._people = max(self._options.population, int(self._options.rate / EVENTS_PER_SESSION * 3600 * 2))
        if self._days:
            self._visitors = self._returning.chances(len(self._days) - 1, 1.0).cumsum().tolist()

    def _fill(self, second: int, elapsed_ms: int, wanted: int) -> None:
        """Start sessions in this second until `wanted` records leave in it."""
        plans, records = self._plans[second], self._records[second]
        self._episodes(wanted, second * SECOND_MS, (second + 1) * SECOND_MS)
        roll = self._rng.random
        earliest = max(second * SECOND_MS, self._options.now_ms)
        room = (second + 1) * SECOND_MS - earliest
        while len(plans) + len(records) < wanted:
            at = earliest + int(roll() * room)
            under_way = elapsed_ms < WARM_UP_MS and roll() > elapsed_ms / WARM_UP_MS
            self._session(self._somebody(at), at, under_way)

    def _somebody(self, at_ms: int) -> Shopper:
        """A shopper who is not busy right now: who comes on the history's last day, newcomers among them, if they have
        time; without a history every other time a regular."""
        roll, visitors = self._rng.random, self._visitors
        known = not visitors and roll() < RETURNING
        for attempt in range(5):
            if visitors and attempt < 4:
                index = bisect(visitors, roll() * visitors[-1])
            else:
                index = int(roll() * (self._options.population if known and attempt < 2 else self._people))
            last = self._last_seen.get(index)
            if last is None or at_ms - last[0] > BUSY_MS:
                break
        return self._population.shopper(index)

    def _forget(self, now_ms: int) -> None:
        """Keep memory bounded, however long live traffic goes on."""
        if len(self._last_seen) > self._forget_above:
            recent = {n: last for n, last in self._last_seen.items() if now_ms - last[0] < BUSY_MS}
            self._last_seen = recent
            self._forget_above = max(MOST_REMEMBERED, 2 * len(recent))

    # --- both --------------------------------------------------------------------------------------------------

    def _session(self, shopper: Shopper, at_ms: int, under_way: bool = False) -> int:
        """Plan one session; returns how many events it has."""
        roll = self._rng.random
        device = make_device(*shopper.device_rolls[int(roll() ** 1.5 * len(shopper.device_rolls))])
        country = self._population.country_now(shopper, at_ms, self._last_seen.get(shopper.number))
        on_the_road = country != shopper.country or (device.kind == "mobile" and roll() < 0.35)
        ip = self._world.ip_of(shopper, at_ms) if on_the_road else shopper.ip
        who = visit(next(self._sessions), shopper, device, ip, country)
        steps = self._scripts.session(shopper, device, at_ms // HOUR_MS)
        if under_way and len(steps) > 1:
            steps = steps[int(roll() * len(steps)) :]
            at_ms -= steps[0][0]
        self._last_seen[shopper.number] = (at_ms + steps[-1][0], country)
        plans, width = self._plans, self._bucket_ms
        for after, event_type, data in steps:
            at = at_ms + after
            plans[at // width].append((at, who, event_type, data))
        return len(steps)

    def _record(self, due_ms: int, happened_ms: int, who: Visit, event_type: str, data: orjson.Fragment) -> Record:
        event_id = next(self._ids)
        value = orjson.dumps(
            {
                "event_id": event_id,
                "event_type": event_type,
                "user_id": who.user_id,
                "timestamp": rfc3339(happened_ms),
                "context": who.context,
                "data": data,
            }
        )
        return Record(TOPIC_OF_TYPE[event_type], who.key, value, due_ms / 1000, event_id)

    def _episodes(self, events: int, begin_ms: int, end_ms: int) -> None:
        """Begin episodes between two moments, as many as the share of `events` allows."""
        self._episode_budget += events * self._options.fraud
        rng = self._world.rng
        while self._episode_budget > 0 and events > 0:
            if not self._scenarios:
                self._scenarios = rng.sample(range(len(SCENARIOS)), len(SCENARIOS))
            start = begin_ms + int(rng.random() * (end_ms - begin_ms))
            episode = SCENARIOS[self._scenarios.pop()](self._world, start)
            late = start - min(step.at_ms for step in episode.steps)
            episode.steps = sorted(
                (step._replace(at_ms=step.at_ms + late) for step in episode.steps), key=lambda s: s.at_ms
            )
            records = [
                self._record(step.at_ms, step.at_ms, step.visit, step.event_type, step.data) for step in episode.steps
            ]
            self._truth.expect(episode, [str(record.event_id) for record in records])
            for record in records:
                self._put(record)
            self._episode_budget -= len(records)

    def _put(self, record: Record) -> None:
        self._records[int(record.due * 1000) // self._bucket_ms].append(record)

    def _take(self, bucket: int) -> list[Record]:
        """What leaves in one bucket of time. Ordinary events are written only now, most of the work of all."""
        records = self._records.pop(bucket, [])
        noise, roll, width = self._noise, self._rng.random, self._bucket_ms
        for at_ms, who, event_type, data in self._plans.pop(bucket, ()):
            delayed = roll()
            happened = at_ms
            if delayed < noise.delayed_share:  # nobody was there before the history begins
                happened = max(at_ms - noise.delay_ms(delayed), self._earliest)
            record = self._record(at_ms, happened, who, event_type, data)
            records.append(record)
            extra = roll()
            if extra < noise.extra_share:
                also = noise.besides(extra, record, self._live)
                if also is not None and int(also.due * 1000) // width == bucket:
                    records.append(also)
                elif also is not None:
                    self._put(also)
        records.sort(key=_by_due)
        return records
