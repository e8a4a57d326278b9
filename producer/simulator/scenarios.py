"""Scenarios: fraud episodes, and innocent ones that look like them, which a rule must not flag. Parameters vary from
episode to episode, so that no threshold separates them for free. Each begins about the moment `at` (epoch ms)."""

from random import Random

from producer.simulator.episodes import Steps, World
from producer.simulator.geography import COUNTRIES, far_from, travel_hours
from producer.simulator.randomness import log_uniform
from producer.simulator.shoppers import FRESH_FROM

MINUTE, HOUR = 60_000, 3_600_000


def card_testing(world: World, rng: Random, at: int) -> Steps:
    """Somebody tries many stolen cards with small amounts within minutes; most are declined."""
    attempts = int(log_uniform(rng, 6, 45))
    gap_s = log_uniform(rng, 3, 30)
    decline = rng.uniform(0.6, 0.97)
    accounts = [world.someone(fresh=0.7) for _ in range(1 if rng.random() < 0.7 else rng.randint(2, 3))]
    device, ip = world.device(), world.ip()
    visits = [world.visit(account, device, ip) for account in accounts]
    card = world.card()
    for _ in range(attempts):
        who = rng.choice(visits)
        declined = rng.random() < decline
        yield world.buy(at, who, card, declined=declined, most=25)
        if rng.random() < 0.9:
            card = world.card()
        at += 1000 + int(rng.expovariate(1 / gap_s) * 1000)


def purchase_velocity(world: World, rng: Random, at: int) -> Steps:
    """A taken-over account buys again and again within minutes, before the owner notices."""
    shopper = world.someone(fresh=0.3)
    own_device = rng.random() < 0.3
    who = world.visit(shopper) if own_device else world.visit(shopper, world.device(), world.ip())
    orders = rng.randint(6, 25)
    gap_s = rng.uniform(180, 1200) / orders
    cards = list(shopper.cards[:1]) if rng.random() < 0.8 else [shopper.cards[0], world.card()]
    for _ in range(orders):
        if rng.random() < 0.4:
            yield world.look(at, who)
            at += 1500 + int(rng.expovariate(1 / 3) * 1000)
        yield world.buy(at, who, rng.choice(cards), declined=rng.random() < 0.06)
        at += 2000 + int(rng.expovariate(1 / gap_s) * 1000)


def bot_browsing(world: World, rng: Random, at: int) -> Steps:
    """A program sweeps the catalogue: many product views, at gaps more regular than a person's."""
    who = world.visit(world.someone(fresh=0.8), world.device(), world.ip())
    looks = int(log_uniform(rng, 60, 400))
    gap_ms = log_uniform(rng, 300, 4000)
    jitter = rng.uniform(0.01, 0.25)
    products, moment = world.catalogue.products, float(at)
    first = rng.randrange(len(products))
    sweeping = rng.random() < 0.6
    for number in range(looks):
        product = products[(first + number) % len(products)] if sweeping else None
        yield world.look(int(moment), who, product)
        moment += max(0.2, rng.gauss(1, jitter)) * gap_ms


def account_ring(world: World, rng: Random, at: int) -> Steps:
    """Many accounts, mostly new, buy from one device, one address or with one card within an hour."""
    accounts = rng.randint(6, 18)
    shared = rng.choice(("device", "ip", "card"))
    device, ip, card = world.device(), world.ip(), world.card()
    length_ms = rng.uniform(15, 55) * MINUTE
    for number in range(accounts):
        shopper = world.someone(fresh=0.85)
        who = world.visit(
            shopper,
            device if shared == "device" else world.device(),
            ip if shared in ("device", "ip") else world.ip(),
        )
        then = at + int((number + rng.random() * 0.8) / accounts * length_ms)
        yield from world.browse(then - 40_000, who, rng.randint(0, 1))
        for repeat in range(1 if rng.random() < 0.8 else 2):
            bought_with = card if shared == "card" else shopper.cards[0]
            yield world.buy(then + repeat * 20_000, who, bought_with, declined=rng.random() < 0.05)


def account_sharing(world: World, rng: Random, at: int) -> Steps:
    """One account is used on many devices and addresses at the same time."""
    shopper = world.regular()
    devices = rng.randint(5, 12)
    length_ms = rng.uniform(8, 28) * MINUTE
    for number in range(devices):
        who = world.visit(shopper, world.device(), world.ip())
        then = at + int(rng.random() * 0.5 * length_ms) if number else at
        looks = rng.randint(3, 9)
        yield from world.browse(then, who, looks, length_ms * 0.5 / looks / 1000)


def impossible_travel(world: World, rng: Random, at: int) -> Steps:
    """One account is active in two far countries within minutes, sometimes going back and forth."""
    shopper = world.regular()
    abroad = rng.choice(far_from(shopper.country))
    home, away = world.visit(shopper), world.visit(shopper, world.device(), world.ip(), abroad)
    at = yield from world.browse(at, home, rng.randint(2, 6))
    at += int(log_uniform(rng, 2, 60) * MINUTE)
    at = yield from world.browse(at, away, rng.randint(2, 6))
    if rng.random() < 0.6:
        at += 30_000
        yield world.buy(at, away, shopper.cards[0])
    if rng.random() < 0.3:
        at += int(log_uniform(rng, 2, 30) * MINUTE)
        yield from world.browse(at, home, rng.randint(1, 4))


def retry_storm(world: World, rng: Random, at: int) -> Steps:
    """A customer whose payment keeps failing tries again and again, on one card or two."""
    shopper = world.regular()
    who = world.visit(shopper)
    cards = [shopper.cards[0]] if rng.random() < 0.3 else [shopper.cards[0], world.card()]
    order = world.order()
    gap_s = log_uniform(rng, 8, 60)
    for _ in range(rng.randint(6, 30)):
        yield world.buy(at, who, rng.choice(cards), declined=True, order=order)
        at += 3000 + int(rng.expovariate(1 / gap_s) * 1000)
    if rng.random() < 0.6:
        yield world.buy(at, who, rng.choice(cards), order=order)


def office(world: World, rng: Random, at: int) -> Steps:
    """Dozens of people browse from one address over a working day; few of them buy in the same hour."""
    ip, country = world.ip(), rng.choice(COUNTRIES).code
    length_ms = int(rng.uniform(1, 6) * HOUR)
    hourly_buyers: dict[int, int] = {}
    for _ in range(rng.randint(15, 45)):
        shopper = world.someone(fresh=0.3)
        who = world.visit(shopper, None, ip, country if shopper.number >= FRESH_FROM else shopper.country)
        then = at + rng.randrange(length_ms)
        hour = then // HOUR
        then = yield from world.browse(then, who, rng.randint(1, 5))
        near = sum(hourly_buyers.get(hour + shift, 0) for shift in (-1, 0, 1))
        if rng.random() < 0.15 and near < 3:
            hourly_buyers[hour] = hourly_buyers.get(hour, 0) + 1
            yield world.buy(then + 30_000, who, shopper.cards[0])


def family(world: World, rng: Random, at: int) -> Steps:
    """Two to four people of a household use one device, one after the other; some of them buy."""
    head = world.regular()
    device, ip, country, card = head.devices[0], head.ip, head.country, head.cards[0]
    members = [head] + [world.fresh() for _ in range(rng.randint(1, 3))]
    for member in members:
        who = world.visit(member, device, ip, country)
        at = yield from world.browse(at, who, rng.randint(2, 7))
        at += 40_000
        if rng.random() < 0.5:
            yield world.buy(at, who, card if rng.random() < 0.6 else member.cards[0])
        at += int(rng.uniform(1, 20) * MINUTE)


def bulk_buyer(world: World, rng: Random, at: int) -> Steps:
    """Somebody buys for a company: one very big order, or a few orders in a row."""
    shopper = world.regular()
    who = world.visit(shopper)
    at = yield from world.browse(at, who, rng.randint(3, 10))
    at += 30_000
    for _ in range(1 if rng.random() < 0.5 else rng.randint(2, 4)):
        quantity = int(log_uniform(rng, 20, 400))
        yield world.buy(at, who, shopper.cards[0], quantity=quantity)
        at += int(log_uniform(rng, 1, 12) * MINUTE)


def price_comparer(world: World, rng: Random, at: int) -> Steps:
    """Somebody looks at very many products, in a person's irregular rhythm, with pauses."""
    who = world.visit(world.regular())
    mean_s = log_uniform(rng, 4, 20)
    favourites = [world.catalogue.pick(rng, rng.randrange(10)) for _ in range(12)]
    for _ in range(int(log_uniform(rng, 30, 110))):
        yield world.look(at, who, rng.choice(favourites) if rng.random() < 0.5 else None)
        gap_s = rng.lognormvariate(0, 0.9) * mean_s
        at += 600 + int(gap_s * 1000) + (int(rng.uniform(1, 4) * MINUTE) if rng.random() < 0.04 else 0)


def own_devices(world: World, rng: Random, at: int) -> Steps:
    """Somebody switches between phone, laptop and tablet within minutes, at home and on the mobile network."""
    shopper = world.regular()
    devices = (*shopper.devices, world.device())[:3]
    for number in range(rng.randint(2, 5)):
        device = devices[number % len(devices)]
        ip = world.ip() if device.kind == "mobile" and rng.random() < 0.4 else shopper.ip
        at = yield from world.browse(at, world.visit(shopper, device, ip), rng.randint(1, 5))
        at += int(rng.uniform(0, 3) * MINUTE) - 5000


def traveller(world: World, rng: Random, at: int) -> Steps:
    """Somebody shops at home, travels, and shops again abroad, no sooner than the journey allows."""
    shopper = world.regular()
    abroad = rng.choice([country.code for country in COUNTRIES if country.code != shopper.country])
    at = yield from world.browse(at, world.visit(shopper), rng.randint(2, 6))
    at += int(travel_hours(shopper.country, abroad) * rng.uniform(1.1, 2.5) * HOUR)
    away = world.visit(shopper, shopper.devices[0], world.ip(), abroad)
    yield from world.browse(at, away, rng.randint(2, 6))


FRAUD = (card_testing, purchase_velocity, bot_browsing, account_ring, account_sharing, impossible_travel)
LOOKALIKES = (retry_storm, office, family, bulk_buyer, price_comparer, own_devices, traveller)
SCENARIOS = (*FRAUD, *LOOKALIKES)
"""Each is named as its episodes are in the truth."""
