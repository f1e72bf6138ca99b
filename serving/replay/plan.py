"""Plans a replay: what it sends, where and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.errors import SettingsError
from serving.pipeline.schemas import MAX_K


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """The plan of a replay. Rates are arrivals per second, times seconds, shares from 0 to 1. Raises SettingsError."""

    url: str
    #: The shop's key; without it no shopper is known, and no event is taken.
    key: str | None = None
    rate: float = 50.0
    duration: float = 60.0
    seed: int = 7
    #: Items asked for, 1 to 100.
    k: int = 10
    #: Longest wait for one answer.
    timeout: float = 5.0
    #: Share of misses after which the shopper goes on to the recorded item anyway.
    follow: float = 1.0
    #: Clicks, carts and purchases only of items that a release showed.
    only_hits: bool = True
    #: Share of interactions that ask `/similar` of the session's last item, not `/recommend`.
    similar: float = 0.0
    #: Every pass through the recording has new shoppers.
    fresh_shoppers: bool = False
    #: Shoppers in the shop at a time; more come when all of them wait for an answer.
    shoppers: int = 200
    #: Requests under way at most; arrivals beyond are reported as unsent. Open files may limit it further.
    in_flight: int = 2000
    #: Time between two calls of `progress`.
    progress_every: float = 1.0

    def __post_init__(self) -> None:
        good = {
            "url": self.url.startswith(("http://", "https://")),
            "rate": 0 < self.rate < float("inf"),
            "duration": 0 < self.duration < float("inf"),
            "seed": self.seed >= 0,
            "k": 1 <= self.k <= MAX_K,
            "timeout": 0 < self.timeout < float("inf"),
            "follow": 0 <= self.follow <= 1,
            "similar": 0 <= self.similar <= 1,
            "shoppers": self.shoppers >= 1,
            "in_flight": self.in_flight >= 1,
            "progress_every": self.progress_every > 0,
        }
        for name, fine in good.items():
            if not fine:
                raise SettingsError(f"{name} is {getattr(self, name)!r}", remedy="see `caravan replay --help`")
