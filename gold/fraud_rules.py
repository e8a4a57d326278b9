"""The fraud rules, as data. `gold/fraud.py` interprets them; adding a rule is adding one entry to RULES.

A rule looks at one kind of event and at one or more entities (user, device, address, card). At every such
event it looks back over `window`; the event *crosses* when all conditions of one of the entity's
alternatives hold. Crossings no further apart than `cooldown` are one episode, and an episode is one flag.

Thresholds come from what shoppers can do by hand and what card schemes and shops publish about abuse, not
from any data set. A flag alone must not convict: it says what to look at, and why.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Considers = Literal["events", "views", "purchases", "paid_purchases"]
Entity = Literal["user", "device", "ip", "card"]
Severity = Literal["low", "medium", "high"]

ENTITY_COLUMNS: dict[Entity, str] = {
    "user": "user_id",
    "device": "device_id",
    "ip": "ip",
    "card": "card_fingerprint",
}
SEVERITY_FLOORS: dict[Severity, float] = {"low": 0.3, "medium": 0.5, "high": 0.7}
"""The score of an episode that barely meets its threshold."""


@dataclass(frozen=True)
class Condition:
    """A threshold on a measure of the window; `because` gives its unit and reason."""

    measure: str
    because: str
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Watch:
    """The alternatives that make an event a crossing for one kind of entity. The first condition of an
    alternative is an `at_least`, and how far it is exceeded raises the score."""

    entity: Entity
    any_of: tuple[tuple[Condition, ...], ...]


@dataclass(frozen=True)
class Rule:
    """One rule. Watches stand from the most to the least specific entity: where the same event crosses for
    several, the first is flagged. `needs` names the fields without which an event cannot be judged, one of
    each group sufficing."""

    rule_id: str
    version: int
    considers: Considers
    window: timedelta
    cooldown: timedelta
    severity: Severity
    reason: str
    watches: tuple[Watch, ...]
    needs: tuple[tuple[str, ...], ...] = ()
    most_events: int = 64

    @property
    def context(self) -> timedelta:
        """How far before an event the rule looks to judge it and to find the beginning of its episode."""
        return self.window + self.cooldown


MANY_DECLINES = Condition("decline_percent", "percent; shops see 5 to 15, testers of stolen cards far more", 50)

PURCHASE_VELOCITY = Rule(
    rule_id="purchase_velocity",
    version=2,
    considers="paid_purchases",
    window=timedelta(minutes=10),
    cooldown=timedelta(minutes=30),
    severity="medium",
    reason="{orders} orders by one user within {span}",
    watches=(
        Watch(
            "user",
            (
                (
                    Condition("orders", "orders; one every two minutes leaves no time to choose and pay", 5),
                    Condition("cards", "cards; with more it is card testing, which says so itself", at_most=4),
                ),
            ),
        ),
    ),
)

CARD_TESTING = Rule(
    rule_id="card_testing",
    version=1,
    considers="purchases",
    window=timedelta(minutes=30),
    cooldown=timedelta(minutes=30),
    severity="high",
    reason="{cards} different cards tried in {events} payments within {span}, {declines} of them declined",
    needs=(("card_fingerprint",),),
    watches=(
        Watch(
            "user",
            (
                (Condition("cards", "cards; people carry two or three, and retrying does not add cards", 5),),
                (
                    Condition("declines", "declined payments", 5),
                    Condition("declined_cards", "cards; a shopper retries on one or two", 3),
                ),
            ),
        ),
        Watch(
            "device",
            (
                (
                    Condition("cards", "cards; a family of four has four, and one to spare", 6),
                    Condition("cards_per_account", "cards per account; a family has one each", 2),
                ),
                (
                    Condition("declined_cards", "cards declined", 4),
                    Condition("declines", "declined payments; no fewer than of a user, who is named first", 5),
                    MANY_DECLINES,
                ),
            ),
        ),
        Watch(
            "ip",
            ((Condition("declined_cards", "cards declined; an office sees one or two an hour", 6), MANY_DECLINES),),
        ),
    ),
)

BOT_BROWSING = Rule(
    rule_id="bot_browsing",
    version=1,
    considers="views",
    window=timedelta(minutes=10),
    cooldown=timedelta(minutes=10),
    severity="low",
    reason="{events} pages within {span}, one every {mean_gap} s with gaps that vary by {gap_variation} only",
    most_events=30,
    watches=(
        Watch(
            "user",
            (
                (
                    Condition("events", "pages in ten minutes, one each 20 s", 30),
                    Condition(
                        "gap_variation",
                        "standard deviation of gaps over their mean; people skim and read: 0.6 to 2, timers under 0.4",
                        at_most=0.4,
                    ),
                ),
                (
                    Condition("events", "pages without a pause", 30),
                    Condition("mean_gap", "seconds; no one looks at a page for so short, 30 times over", at_most=1.5),
                ),
            ),
        ),
    ),
)

ACCOUNT_RING = Rule(
    rule_id="account_ring",
    version=1,
    considers="paid_purchases",
    window=timedelta(minutes=60),
    cooldown=timedelta(minutes=30),
    severity="high",
    reason="{accounts} accounts bought from one {entity_type} within {span}",
    needs=(("device_id", "ip", "card_fingerprint"),),
    watches=(
        Watch("device", ((Condition("accounts", "accounts; a family on one device has two to four", 5),),)),
        Watch("card", ((Condition("accounts", "accounts; a family shares a card too", 5),),)),
        Watch("ip", ((Condition("accounts", "accounts; of an office of forty, fewer buy within one hour", 10),),)),
    ),
)

ACCOUNT_SHARING = Rule(
    rule_id="account_sharing",
    version=1,
    considers="events",
    window=timedelta(minutes=30),
    cooldown=timedelta(minutes=30),
    severity="medium",
    reason="{devices} devices used one account within {span}",
    needs=(("device_id",),),
    watches=(Watch("user", ((Condition("devices", "devices; a telephone, a tablet and a computer are three", 4),),)),),
)

IMPOSSIBLE_TRAVEL = Rule(
    rule_id="impossible_travel",
    version=1,
    considers="events",
    window=timedelta(minutes=60),
    cooldown=timedelta(minutes=30),  # the way back is no second journey
    severity="high",
    reason="from {previous_country} to {country}, at least {distance} km, within {span}",
    needs=(("country",),),
    most_events=2,
    watches=(
        Watch(
            "user",
            (
                (
                    Condition("speed", "km/h between borders; airliners fly 900", 1000),
                    Condition("distance", "km between borders; nearer countries may be a roaming telephone", 300),
                ),
            ),
        ),
    ),
)

RULES = (
    PURCHASE_VELOCITY,
    CARD_TESTING,
    BOT_BROWSING,
    ACCOUNT_RING,
    ACCOUNT_SHARING,
    IMPOSSIBLE_TRAVEL,
)
CONTEXT = max(rule.context for rule in RULES)
"""How far before the first flag to emit `fraud.flags` must see events."""
