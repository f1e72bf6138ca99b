"""What a replay saw: latencies, failures, hits and events per release and route; and how the generator did."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

import numpy as np

#: Stands for the release where no answer named one.
NO_RELEASE = "-"
#: The generator holds its rate while 99 % of arrivals leave no later than this, milliseconds.
LATENESS_LIMIT = 100.0


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Milliseconds; all None when there is nothing to take them of."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Iterable[array[float]]) -> Quantiles:
        joined = np.concatenate([np.empty(0), *(np.asarray(part) for part in values)])
        if not len(joined):
            return cls()
        p50, p95, p99 = np.quantile(joined, (0.5, 0.95, 0.99)).tolist()
        return cls(p50=p50, p95=p95, p99=p99, max=float(joined.max()))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One release on one route. `release` is "-" where no answer came or the answer named none."""

    release: str
    route: str
    requests: int
    #: Of the requests on this route, from 0 to 1.
    share: float
    #: From the moment a request was due to the last byte of its answer. Of answers with status 200 and of timeouts,
    #: which took at least that long; a fast refusal is no fast answer and has no part in it.
    latency_ms: Quantiles
    #: "5xx", "4xx", "timeout", "connection", "unreadable" (a 200 that is no answer of ours), each with its count.
    errors: dict[str, int]
    fallbacks: int
    empty: int
    #: Answers after which the shopper chose an item that was new in the session, and those that showed that item.
    trials: int
    hits: int
    hit_rate: float | None
    #: 95 % Wilson interval of the hit rate.
    hit_interval: tuple[float, float]
    #: Events sent back and accepted, by kind, under the release whose answer they followed.
    events: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A replay so far, or at its end. Rates are per second; an arrival is one step of one shopper."""

    asked_rate: float
    #: Arrivals that left, per second.
    achieved_rate: float
    #: How long arrivals were sent.
    seconds: float
    arrivals: int
    #: Arrivals that found as many requests under way as the generator allows, and never left.
    unsent: int
    #: How late arrivals left against the plan: the generator's own fault, and part of every latency.
    lateness_ms: Quantiles
    #: True when nothing was unsent and 99 % of arrivals left within LATENESS_LIMIT.
    held: bool
    requests: int
    #: Answers with status 200.
    answers: int
    errors: dict[str, int]
    latency_ms: Quantiles
    events_rejected: int
    shoppers: int
    #: Times the recording was begun.
    passes: int
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `json.dumps`."""
        return asdict(self)


@dataclass(slots=True)
class Tally:
    """Counts of one release on one route while the replay runs."""

    requests: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    empty: int = 0
    trials: int = 0
    hits: int = 0
    events: Counter[str] = field(default_factory=Counter)

    def judge(self, hit: bool) -> None:
        """Count one answer that the shopper's next choice was compared with."""
        self.trials += 1
        self.hits += hit


class Record:
    """What is kept while a replay runs: a few numbers per request."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._lateness = array("d")
        self._seconds: float | None = None
        self.unsent = 0
        self.events_rejected = 0

    def tally(self, release: str, route: str) -> Tally:
        """The counts of `release` on `route`, begun at the first call."""
        found = self._tallies.get((release, route))
        if found is None:
            found = self._tallies[(release, route)] = Tally()
        return found

    def left(self, late_ms: float) -> None:
        """One arrival left, so late."""
        self._lateness.append(late_ms)

    def end(self, seconds: float) -> None:
        """The last arrival has left, so long after the start; answers may still come."""
        self._seconds = seconds

    def report(self, *, asked_rate: float, seconds: float, shoppers: int, passes: int) -> Report:
        """Everything so far; `seconds` since the start, unless arrivals have ended."""
        seconds = seconds if self._seconds is None else self._seconds
        on_route: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for (_, route), tally in self._tallies.items():
            on_route[route] += tally.requests
            errors.update(tally.errors)
        lateness = Quantiles.of([self._lateness])
        left, requests = len(self._lateness), on_route.total()
        return Report(
            asked_rate=asked_rate,
            achieved_rate=left / seconds if seconds > 0 else 0.0,
            seconds=seconds,
            arrivals=left,
            unsent=self.unsent,
            lateness_ms=lateness,
            held=not self.unsent and (lateness.p99 or 0.0) <= LATENESS_LIMIT,
            requests=requests,
            answers=requests - errors.total(),
            errors=dict(sorted(errors.items())),
            latency_ms=Quantiles.of(tally.latencies for tally in self._tallies.values()),
            events_rejected=self.events_rejected,
            shoppers=shoppers,
            passes=passes,
            rows=[
                _row(release, route, tally, on_route[route])
                for (release, route), tally in sorted(self._tallies.items(), key=lambda pair: pair[0][::-1])
            ],
        )


def _row(release: str, route: str, tally: Tally, on_route: int) -> Row:
    return Row(
        release=release,
        route=route,
        requests=tally.requests,
        share=tally.requests / on_route if on_route else 0.0,
        latency_ms=Quantiles.of([tally.latencies]),
        errors=dict(sorted(tally.errors.items())),
        fallbacks=tally.fallbacks,
        empty=tally.empty,
        trials=tally.trials,
        hits=tally.hits,
        hit_rate=tally.hits / tally.trials if tally.trials else None,
        hit_interval=wilson(tally.hits, tally.trials),
        events=dict(sorted(tally.events.items())),
    )


def wilson(hits: int, trials: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval of a share, by default of 95 %; (0, 1) without a trial."""
    if not trials:
        return 0.0, 1.0
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / trials + spread / trials / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)
