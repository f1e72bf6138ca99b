"""Surveys what has landed and what is published, for the days that a run looks at."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any, Self, TypeVar

from artifacts.lake import Lake
from artifacts.manifest import Manifest
from artifacts.publish import read_manifest
from contracts.errors import NothingLanded
from ingestion.landing import batches
from ingestion.landing.manifests import LandedDay
from ingestion.rules.reasons import HARMLESS
from ingestion.validation.changes import UNREADABLE, DayFigures

EVENTS_TABLE = "events"
#: How far back a run looks for rows that landed after their day was published; older ones wait for a run of their day.
LATE_DAYS = 40
_WORKERS = 8
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, kw_only=True)
class PublishedDay:
    """What the manifest of `events/<day>` says: which landed batches it is made of, and how many rows they had."""

    batches: dict[str, str]  # batch -> digest
    columns: dict[str, str] = field(default_factory=dict)  # column -> kind of its values, of all its files together
    read: int
    kept: int
    quarantined: dict[str, int]
    undated: dict[str, int] = field(default_factory=dict)  # of its files' records without a usable day, its part
    machines: dict[str, Any] = field(default_factory=dict)  # as ingestion.rules.machines counts them, if any
    figures: dict[str, float] = field(default_factory=dict)  # its numbers, for what is usual; an older day has few
    changes: list[dict[str, Any]] = field(default_factory=list)  # large changes that a person let pass
    open: bool = False  # it was not over when it was published, so that nobody could say whether it is whole

    def to_meta(self) -> dict[str, Any]:
        """Return it under the names that it has at rest; what is not said is left out, as in older manifests."""
        always = ("batches", "columns", "read", "kept", "quarantined")
        return {name: value for name, value in asdict(self).items() if value or name in always}

    @property
    def bad(self) -> int:
        """Rows that cannot be used, those of its files without a usable day too."""
        return sum(n for reason, n in self.quarantined.items() if reason not in HARMLESS) + sum(self.undated.values())

    def about(self) -> DayFigures:
        """Return its numbers; of a day that an older version published, those that its counts tell."""
        known = {"events": self.kept, UNREADABLE: self.bad / max(self.kept + self.bad, 1)}
        return DayFigures(numbers=known | self.figures, changes=self.changes)

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Self:
        """Return what `manifest` says."""
        meta = manifest.meta
        return cls(
            batches=meta["batches"],
            columns=meta.get("columns") or {},
            read=meta["read"],
            kept=meta["kept"],
            quarantined=meta["quarantined"],
            undated=meta.get("undated") or {},
            machines=meta.get("machines") or {},
            figures=meta.get("figures") or {},
            changes=meta.get("changes") or [],
            open=bool(meta.get("open")),
        )


@dataclass(frozen=True, kw_only=True)
class DaySurvey:
    """What has landed and what is published, for the days that a run looks at."""

    days: list[str]
    landed: dict[str, dict[str, str]]  # day -> batch -> digest
    published: dict[str, PublishedDay]
    digests: dict[str, str]  # of the published days

    today: str

    @property
    def changed(self) -> list[str]:
        """The days that are not published as they landed, or were before they were over; the earliest first."""
        return [
            d
            for d in self.days
            if d not in self.published
            or self.published[d].batches != self.landed[d]
            or (self.published[d].open and d < self.today)
        ]


def survey_days(lake: Lake, day: str, today: str) -> DaySurvey:
    """Look at `day`, every landed day before it that is not published, and the LATE_DAYS last ones.

    Raises NothingLanded when there is no event of `day`.
    """
    by_day = _landed_batches(lake, day)
    if day not in by_day:
        raise NothingLanded(
            f"no event of {day} has landed for {lake.source}",
            remedy="bring them with `caravan ingest`, or choose a day that has some",
        )
    published = [d for d in lake.partitions(EVENTS_TABLE) if d <= day]
    recent = (date.fromisoformat(day) - timedelta(days=LATE_DAYS)).isoformat()
    there = set(published)
    days = [d for d in sorted(by_day) if d not in there or d >= recent]
    wanted = {d for d in days if d in there}
    for current in days:  # what the first of them is compared with
        before = bisect_left(published, current) - 1
        if before >= 0:
            wanted.add(published[before])
    names = [(d, b) for d in days for b in by_day[d]]
    landed: dict[str, dict[str, str]] = {d: {} for d in days}
    for (own, batch), digest in in_parallel(lambda n: lake.digest(batches.EVENTS_TABLE, "/".join(n)), names).items():
        landed[own][batch] = str(digest)
    manifests = in_parallel(lambda d: lake.manifest(EVENTS_TABLE, d), sorted(wanted))
    return DaySurvey(
        days=days,
        landed=landed,
        published={d: PublishedDay.from_manifest(m) for d, m in manifests.items()},
        digests={d: m.digest for d, m in manifests.items()},
        today=today,
    )


def _landed_batches(lake: Lake, until: str) -> dict[str, list[str]]:
    """Return the names of the batches of each landed day, up to and with `until`."""
    by_day: dict[str, list[str]] = {}
    for name in lake.partitions(batches.EVENTS_TABLE):
        own, _, batch = name.partition("/")
        if own <= until:
            by_day.setdefault(own, []).append(batch)
    return by_day


def read_landed(lake: Lake, digests: dict[str, str]) -> list[LandedDay]:
    """Read what the landed batches of a day say of their rows, in the order of the batches' names."""
    return [LandedDay.from_meta(read_manifest(lake.store, digest).meta) for _, digest in sorted(digests.items())]


def in_parallel(work: Callable[[_In], _Out], values: Iterable[_In]) -> dict[_In, _Out]:
    """Return value -> result of `work`, done in parallel: it waits for the store more than it computes."""
    listed = list(values)
    with ThreadPoolExecutor(_WORKERS) as pool:
        return dict(zip(listed, pool.map(work, listed), strict=True))
