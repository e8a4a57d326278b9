"""The simulation itself: days of history, then seconds of live traffic, merged by the moment of sending."""

import itertools
import math
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from operator import attrgetter
from random import Random

import numpy as np
import orjson

from producer.contract import TOPIC_OF_TYPE
from producer.record import Record
from producer.simulator.calendar import DAY_MS, HOUR_MS, WEEKDAY, rfc3339, times_of_day, weekday
from producer.simulator.catalogue import Catalogue
from producer.simulator.episodes import Steps, World
from producer.simulator.geography import BY_CODE
from producer.simulator.noise import Noise
from producer.simulator.options import SimulationOptions
from producer.simulator.randomness import derive, generator, opaque_ids
from producer.simulator.scenarios import LOOKALIKES, SCENARIOS
from producer.simulator.sessions import Scripts
from producer.simulator.shoppers import Population, Shopper, Visit, make_device, returning, visit
from producer.simulator.truth import Episode, Truth

SECOND_MS = 1000
EVENTS_PER_SESSION = 6.0
"""About how long a session is; live traffic corrects itself second by second."""
BUSY_MS = 30 * 60_000
"""A person who has just been here does not come again within this time."""
RETURNING = 0.5
"""Share of live sessions for which a few thousand regulars are asked first, where no history says who comes."""
WARM_UP_MS = 180_000
"""At the start of live traffic some sessions are already under way."""

Plan = tuple[int, Visit, str, orjson.Fragment]
"""An ordinary event to come: moment (epoch ms), session, type, data."""


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
        self._world = World(episodes, self._population, options.population, catalogue, orders, self._sessions)
        self._days = range(start // DAY_MS, (options.now_ms - 1) // DAY_MS + 1) if options.history_ms else range(0)
        self._chances = returning(seed, options.population, len(self._days))
        self._visitors: list[float] = []
        self._earliest = start if self._days else 0
        self._scenarios: list[Callable[[World, Random, int], Steps]] = []
        self._episode_numbers = itertools.count(1)
        self._episode_budget = 0.0
        self._due: defaultdict[int, list[Plan | Record]] = defaultdict(list)
        self._bucket_ms = HOUR_MS
        self._live = False
        self._last_seen: dict[int, tuple[int, str]] = {}
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
        chances = [self._chances(n, WEEKDAY[weekday(day)]) for n, day in enumerate(days)]
        covered = [min(end, (day + 1) * DAY_MS) - max(start, day * DAY_MS) for day in days]
        expected = sum(float(c.sum()) * share / DAY_MS for c, share in zip(chances, covered, strict=True))
        wanted = self._options.history_events * self._ordinary_share / EVENTS_PER_SESSION
        for day, chance in zip(days, chances, strict=True):
            self._day(day, chance, wanted / max(expected, 1e-9))
            for hour in range(day * 24, day * 24 + 24):
                for record in self._take(hour):
                    if record.due * 1000 < end:
                        yield record

    def _day(self, day: int, chance: np.ndarray, visits_each: float) -> None:
        """Plan the sessions of one day; `visits_each` is how often a shopper comes who comes at all, on average."""
        start, end = self._options.start_ms, self._options.now_ms
        here = np.flatnonzero(self._numbers.random(chance.size) < chance * min(1.0, visits_each))
        visits = np.repeat(here, 1 + self._numbers.poisson(max(0.0, visits_each - 1), here.size))
        times = times_of_day(self._numbers, day, visits.size)
        order = np.argsort(times, kind="stable")
        events = 0
        for index, local in zip(visits[order].tolist(), times[order].tolist(), strict=True):
            shopper = self._population.shopper(index)
            at = day * DAY_MS + int(local - BY_CODE[shopper.country].utc_offset * HOUR_MS) % DAY_MS
            if start <= at < end:
                events += self._session(shopper, at)
        self._episodes(events, max(start, day * DAY_MS), min(end, (day + 1) * DAY_MS))

    # --- live --------------------------------------------------------------------------------------------------

    def _live_traffic(self) -> Iterator[Record]:
        self._go_live()
        begin = self._options.now_ms
        end = math.inf if self._options.duration_s is None else begin + self._options.duration_s * 1000
        emitted, second = 0, begin // SECOND_MS
        while second * SECOND_MS < end:
            elapsed_ms = (second + 1) * SECOND_MS - begin
            self._fill(second, elapsed_ms, round(self._options.rate * elapsed_ms / 1000) - emitted)
            for record in self._take(second):
                if record.due * 1000 < end:
                    emitted += 1
                    yield record
            second += 1

    def _go_live(self) -> None:
        """From buckets of an hour to buckets of a second; what is under way goes on."""
        under_way, self._due = self._due, defaultdict(list)
        self._bucket_ms, self._live = SECOND_MS, True
        for one in itertools.chain.from_iterable(under_way.values()):
            if _at_ms(one) >= self._options.now_ms:
                self._put(one)
        self._people = max(self._options.population, int(self._options.rate / EVENTS_PER_SESSION * 3600 * 2))
        if self._days:
            self._visitors = self._chances(len(self._days) - 1, 1.0).cumsum().tolist()

    def _fill(self, second: int, elapsed_ms: int, wanted: int) -> None:
        """Start sessions in this second until `wanted` records leave in it."""
        leaving = self._due[second]
        self._episodes(wanted, second * SECOND_MS, (second + 1) * SECOND_MS)
        roll = self._rng.random
        earliest = max(second * SECOND_MS, self._options.now_ms)
        room = (second + 1) * SECOND_MS - earliest
        while len(leaving) < wanted:
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

    # --- both --------------------------------------------------------------------------------------------------

    def _session(self, shopper: Shopper, at_ms: int, under_way: bool = False) -> int:
        """Plan one session; returns how many events it has."""
        roll = self._rng.random
        device = make_device(*shopper.device_rolls[int(roll() ** 1.5 * len(shopper.device_rolls))])
        country = self._population.country_now(shopper, at_ms, self._last_seen.get(shopper.number))
        on_the_road = country != shopper.country or (device.kind == "mobile" and roll() < 0.35)
        ip = self._population.mobile_ip(shopper, at_ms) if on_the_road else shopper.ip
        who = visit(next(self._sessions), shopper, device, ip, country)
        steps = list(self._scripts.session(shopper, device, at_ms // HOUR_MS))
        if under_way and len(steps) > 1:
            steps = steps[int(roll() * len(steps)) :]
            at_ms -= steps[0][0]
        self._last_seen[shopper.number] = (at_ms + steps[-1][0], country)
        due, width = self._due, self._bucket_ms
        for after, event_type, data in steps:
            due[(at_ms + after) // width].append((at_ms + after, who, event_type, data))
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
        return Record(TOPIC_OF_TYPE[event_type], who.user_id.encode(), value, due_ms / 1000, event_id)

    def _episodes(self, events: int, begin_ms: int, end_ms: int) -> None:
        """Begin episodes between two moments, as many as the share of `events` allows."""
        self._episode_budget += events * self._options.fraud
        rng = self._world.rng
        while self._episode_budget > 0 and events > 0:
            if not self._scenarios:
                self._scenarios = rng.sample(SCENARIOS, len(SCENARIOS))
            start = begin_ms + int(rng.random() * (end_ms - begin_ms))
            scenario = self._scenarios.pop()
            steps = sorted(scenario(self._world, rng, start), key=attrgetter("at_ms"))
            late = start - steps[0].at_ms
            planned = {}
            for step in (step._replace(at_ms=step.at_ms + late) for step in steps):
                record = self._record(step.at_ms, step.at_ms, step.visit, step.event_type, step.data)
                planned[str(record.event_id)] = step
                self._put(record)
            self._truth.expect(Episode(next(self._episode_numbers), scenario.__name__, scenario in LOOKALIKES, planned))
            self._episode_budget -= len(planned)

    def _put(self, one: Plan | Record) -> None:
        self._due[_at_ms(one) // self._bucket_ms].append(one)

    def _take(self, bucket: int) -> list[Record]:
        """What leaves in one bucket of time. Ordinary events are written only now, most of the work of all."""
        records: list[Record] = []
        noise, roll = self._noise, self._rng.random
        for one in self._due.pop(bucket, ()):
            if isinstance(one, Record):
                records.append(one)
                continue
            at_ms, who, event_type, data = one
            delayed, happened = roll(), at_ms
            if delayed < noise.delayed_share:  # nobody was there before the history begins
                happened = max(at_ms - noise.delay_ms(delayed), self._earliest)
            record = self._record(at_ms, happened, who, event_type, data)
            records.append(record)
            extra = roll()
            if extra < noise.extra_share:
                also = noise.besides(extra, record, self._live)
                if _at_ms(also) // self._bucket_ms == bucket:
                    records.append(also)
                else:
                    self._put(also)
        records.sort(key=attrgetter("due"))
        return records


def _at_ms(one: Plan | Record) -> int:
    return int(one.due * 1000) if isinstance(one, Record) else one[0]
