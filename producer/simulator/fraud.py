"""Fraud episodes. Parameters vary from episode to episode, so that no threshold separates them for free."""

from __future__ import annotations

from producer.simulator.episodes import Episode, World
from producer.simulator.geography import far_from
from producer.simulator.randomness import exponential, log_uniform

MINUTE = 60_000


def card_testing(world: World, start_ms: int) -> Episode:
    """Somebody tries many stolen cards with small amounts within minutes; most are declined."""
    rng, episode = world.rng, Episode("card_testing", innocent=False)
    attempts = int(log_uniform(rng, 6, 45))
    gap_s = log_uniform(rng, 3, 30)
    decline = rng.uniform(0.6, 0.97)
    accounts = [world.someone(fresh=0.7) for _ in range(1 if rng.random() < 0.7 else rng.randint(2, 3))]
    device, ip = world.device(), world.ip()
    visits = [world.visit(account, device, ip) for account in accounts]
    card, at = world.card(), start_ms
    for _ in range(attempts):
        who = rng.choice(visits)
        declined = rng.random() < decline
        episode.steps.append(world.buy(at, who, card, declined=declined, most=25))
        if rng.random() < 0.9:
            card = world.card()
        at += 1000 + int(exponential(rng, gap_s) * 1000)
    return episode


def purchase_velocity(world: World, start_ms: int) -> Episode:
    """A taken-over account buys again and again within minutes, before the owner notices."""
    rng, episode = world.rng, Episode("purchase_velocity", innocent=False)
    shopper = world.someone(fresh=0.3)
    own_device = rng.random() < 0.3
    who = world.visit(shopper) if own_device else world.visit(shopper, world.device(), world.ip())
    orders = rng.randint(6, 25)
    gap_s = rng.uniform(180, 1200) / orders
    cards = list(shopper.cards[:1]) if rng.random() < 0.8 else [shopper.cards[0], world.card()]
    at = start_ms
    for _ in range(orders):
        if rng.random() < 0.4:
            episode.steps.append(world.look(at, who))
            at += 1500 + int(exponential(rng, 3) * 1000)
        episode.steps.append(world.buy(at, who, rng.choice(cards), declined=rng.random() < 0.06))
        at += 2000 + int(exponential(rng, gap_s) * 1000)
    return episode


def bot_browsing(world: World, start_ms: int) -> Episode:
    """A program sweeps the catalogue: many product views, at gaps more regular than a person's."""
    rng, episode = world.rng, Episode("bot_browsing", innocent=False)
    who = world.visit(world.someone(fresh=0.8), world.device(), world.ip())
    looks = int(log_uniform(rng, 60, 400))
    gap_ms = log_uniform(rng, 300, 4000)
    jitter = rng.uniform(0.01, 0.25)
    first, at = rng.randrange(len(world.catalogue.products)), float(start_ms)
    sweeping = rng.random() < 0.6
    for number in range(looks):
        products = world.catalogue.products
        product = products[(first + number) % len(products)] if sweeping else None
        episode.steps.append(world.look(int(at), who, product))
        at += max(0.2, rng.gauss(1, jitter)) * gap_ms
    return episode


def account_ring(world: World, start_ms: int) -> Episode:
    """Many accounts, mostly new, buy from one device, one address or with one card within an hour."""
    rng, episode = world.rng, Episode("account_ring", innocent=False)
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
        at = start_ms + int((number + rng.random() * 0.8) / accounts * length_ms)
        episode.steps += world.browse(at - 40_000, who, rng.randint(0, 1))
        for repeat in range(1 if rng.random() < 0.8 else 2):
            bought_with = card if shared == "card" else shopper.cards[0]
            episode.steps.append(world.buy(at + repeat * 20_000, who, bought_with, declined=rng.random() < 0.05))
    return episode


def account_sharing(world: World, start_ms: int) -> Episode:
    """One account is used on many devices and addresses at the same time."""
    rng, episode = world.rng, Episode("account_sharing", innocent=False)
    shopper = world.regular()
    devices = rng.randint(5, 12)
    length_ms = rng.uniform(8, 28) * MINUTE
    for number in range(devices):
        who = world.visit(shopper, world.device(), world.ip())
        at = start_ms + int(rng.random() * 0.5 * length_ms) if number else start_ms
        looks = rng.randint(3, 9)
        episode.steps += world.browse(at, who, looks, length_ms * 0.5 / looks / 1000)
    return episode


def impossible_travel(world: World, start_ms: int) -> Episode:
    """One account is active in two far countries within minutes, sometimes going back and forth."""
    rng, episode = world.rng, Episode("impossible_travel", innocent=False)
    shopper = world.regular()
    abroad = rng.choice(far_from(shopper.country))
    at = start_ms
    home, away = world.visit(shopper), world.visit(shopper, world.device(), world.ip(), abroad)
    episode.steps += world.browse(at, home, rng.randint(2, 6))
    at = episode.steps[-1].at_ms + int(log_uniform(rng, 2, 60) * MINUTE)
    episode.steps += world.browse(at, away, rng.randint(2, 6))
    if rng.random() < 0.6:
        at = episode.steps[-1].at_ms + 30_000
        episode.steps.append(world.buy(at, away, shopper.cards[0]))
    if rng.random() < 0.3:
        at = episode.steps[-1].at_ms + int(log_uniform(rng, 2, 30) * MINUTE)
        episode.steps += world.browse(at, home, rng.randint(1, 4))
    return episode


FRAUD = (card_testing, purchase_velocity, bot_browsing, account_ring, account_sharing, impossible_travel)
