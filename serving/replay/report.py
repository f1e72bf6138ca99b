"""Counts and reports a replay: latencies, failures, hits and events per release and route, and the generator's pace."""

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
#: The generator holds its rate while 99 % of arrivals are sent no later than this.
LATENESS_LIMIT_MS = 100.0


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """Quantiles in milliseconds; all None without a single value."""

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
class ReportRow:
    """One release on one route. `release` is "-" where no answer came, or one that named none."""

    release: str
    route: str
    requests: int
    #: Of the requests on this route, from 0 to 1.
    share: float
    #: From the moment a request was due to the last byte of its answer. Of answers with status 200 and of timeouts,
    #: which took at least that long; a fast refusal is no fast answer and is left out.
    latency_ms: Quantiles
    #: "5xx", "4xx", "timeout", "connection", "unreadable" (a 200 that is no answer of an engine), with their counts.
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
class ReplayReport:
    """A replay so far, or at its end. Rates are per second; an arrival is one step of one shopper."""

    asked_rate: float
    #: Arrivals that were sent, per second.
    achieved_rate: float
    #: How long arrivals were sent.
    seconds: float
    arrivals: int
    #: Arrivals that were not sent, because as many requests were under way as the generator allows.
    unsent: int
    #: How late arrivals were sent, compared with the plan: the generator's own fault, and part of every latency.
    lateness_ms: Quantiles
    #: True when nothing was unsent and 99 % of arrivals were sent within LATENESS_LIMIT_MS.
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
    rows: list[ReportRow]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for `json.dumps`."""
        return asdict(self)


@dataclass(slots=True)
class RouteCounts:
    """The counts of one release on one route while the replay runs."""

    requests: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    empty: int = 0
    trials: int = 0
    hits: int = 0
    events: Counter[str] = field(default_factory=Counter)

    def count_choice(self, *, hit: bool) -> None:
        """Count one answer, and whether it showed the item that the shopper chose next."""
        self.trials += 1
        self.hits += hit


class ReplayRecord:
    """The record of a running replay: a few numbers per request."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], RouteCounts] = {}
        self._lateness = array("d")
        self._seconds: float | None = None
        self.unsent = 0
        self.events_rejected = 0

    def counts_of(self, release: str, route: str) -> RouteCounts:
        """Return the counts of `release` on `route`, started at the first call."""
        found = self._counts.get((release, route))
        if found is None:
            found = self._counts[(release, route)] = RouteCounts()
        return found

    def count_arrival(self, late_ms: float) -> None:
        """Count one arrival that was sent, so many milliseconds late."""
        self._lateness.append(late_ms)

    def end_arrivals(self, seconds: float) -> None:
        """Note that the last arrival was sent, so many seconds after the start; answers may still come."""
        self._seconds = seconds

    def make_report(self, *, asked_rate: float, seconds: float, shoppers: int, passes: int) -> ReplayReport:
        """Report everything so far; `seconds` since the start, unless arrivals have ended."""
        seconds = seconds if self._seconds is None else self._seconds
        on_route: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for (_, route), counts in self._counts.items():
            on_route[route] += counts.requests
            errors.update(counts.errors)
        lateness = Quantiles.of([self._lateness])
        arrivals, requests = len(self._lateness), on_route.total()
        return ReplayReport(
            asked_rate=asked_rate,
            achieved_rate=arrivals / seconds if seconds > 0 else 0.0,
            seconds=seconds,
            arrivals=arrivals,
            unsent=self.unsent,
            lateness_ms=lateness,
            held=not self.unsent and (lateness.p99 or 0.0) <= LATENESS_LIMIT_MS,
            requests=requests,
            answers=requests - errors.total(),
            errors=dict(sorted(errors.items())),
            latency_ms=Quantiles.of(counts.latencies for counts in self._counts.values()),
            events_rejected=self.events_rejected,
            shoppers=shoppers,
            passes=passes,
            rows=[
                _make_row(release, route, counts, on_route[route])
                for (release, route), counts in sorted(self._counts.items(), key=lambda pair: pair[0][::-1])
            ],
        )


def _make_row(release: str, route: str, counts: RouteCounts, on_route: int) -> ReportRow:
    return ReportRow(
        release=release,
        route=route,
        requests=counts.requests,
        share=counts.requests / on_route if on_route else 0.0,
        latency_ms=Quantiles.of([counts.latencies]),
        errors=dict(sorted(counts.errors.items())),
        fallbacks=counts.fallbacks,
        empty=counts.empty,
        trials=counts.trials,
        hits=counts.hits,
        hit_rate=counts.hits / counts.trials if counts.trials else None,
        hit_interval=wilson_interval(counts.hits, counts.trials),
        events=dict(sorted(counts.events.items())),
    )


def wilson_interval(hits: int, trials: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's score interval of a share, by default of 95 %; (0, 1) without a trial."""
    if not trials:
        return 0.0, 1.0
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / trials + spread / trials / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)
