"""What a simulation is asked for."""

from dataclasses import dataclass
from pathlib import Path

from lakehouse.errors import UsageError

MAX_HISTORY_DAYS = 390
"""A longer history would be refused as too old."""


@dataclass(frozen=True)
class SimulationOptions:
    """One simulation. The same options give the same records, byte for byte.

    `now_ms` (epoch milliseconds) is where the history ends and live traffic begins. Shares are fractions of all
    records; `fraud` is the share that belongs to fraud episodes and their innocent look-alikes. With `history_is_sent`
    only live traffic comes, from the people whom the history, sent before, has made.
    """

    now_ms: int
    seed: int = 42
    history_ms: int = 0
    history_events: int = 100_000
    history_is_sent: bool = False
    live: bool = False
    rate: float = 50.0
    duration_s: float | None = None
    count: int | None = None
    users: int | None = None
    duplicates: float = 0.01
    out_of_order: float = 0.01
    late: float = 0.005
    malformed: float = 0.005
    harmless: float = 0.002
    fraud: float = 0.02
    truth: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated, with one sentence."""
        shares = ("duplicates", "out_of_order", "late", "malformed", "harmless", "fraud")
        for name in shares:
            if not 0 <= getattr(self, name) <= 0.5:
                raise UsageError(f"--{name.replace('_', '-')} is a share and must be between 0 and 0.5.")
        if sum(getattr(self, name) for name in shares) > 0.9:
            raise UsageError(
                "The shares of duplicates, out-of-order, late, malformed and fraud leave no ordinary events."
            )
        if not self.live and self.history_ms <= 0:
            raise UsageError("Ask for a history, for live traffic, or for both.")
        if self.history_ms > MAX_HISTORY_DAYS * 86_400_000:
            raise UsageError(f"--history can be at most {MAX_HISTORY_DAYS} days; older events would be refused.")
        if self.live and not self.rate > 0:
            raise UsageError("--rate must be above 0 events per second.")
        if self.history_events < 1 or (self.users is not None and self.users < 1):
            raise UsageError("--history-events and --users must be at least 1.")

    @property
    def start_ms(self) -> int:
        """Where simulated time begins."""
        return self.now_ms - self.history_ms

    @property
    def population(self) -> int:
        """How many shoppers the history has: about twenty events each, unless stated."""
        return self.users or max(50, self.history_events // 20 if self.history_ms else 5000)
