"""Reports what became of the files of one landing."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingestion.landing.ahead import EarlyRows
from ingestion.landing.manifests import LandedFile
from ingestion.landing.replacing import ReplacedDay


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What became of one file: kept + quarantined = read, unless the file as a whole was refused."""

    name: str
    table: str
    status: str  # landed | known | refused
    read: int = 0
    kept: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    days: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    reason: str = ""


def report_of(landed: LandedFile, table: str, name: str, status: str, dropped: tuple[str, ...] = ()) -> FileReport:
    """Return the report of a file that is in the lake, and the columns that a fresh one was left without."""
    return FileReport(
        name=name,
        table=table,
        status=status,
        read=landed.read,
        kept=landed.kept,
        quarantined=landed.quarantined,
        days=tuple(landed.days),
        dropped=dropped,
    )


@dataclass(frozen=True, kw_only=True)
class LandingReport:
    """All files of one call."""

    source: str
    files: tuple[FileReport, ...]
    replaced: tuple[ReplacedDay, ...] = ()
    early: EarlyRows = field(default_factory=lambda: EarlyRows(taken={}))

    @property
    def read(self) -> int:
        return sum(f.read for f in self.files)

    @property
    def kept(self) -> int:
        return sum(f.kept for f in self.files)

    @property
    def quarantined(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for file in self.files:
            for reason, number in file.quarantined.items():
                total[reason] = total.get(reason, 0) + number
        return dict(sorted(total.items()))

    @property
    def days(self) -> tuple[str, ...]:
        return tuple(sorted({d for f in self.files for d in f.days}))

    @property
    def refused(self) -> tuple[FileReport, ...]:
        return tuple(f for f in self.files if f.status == "refused")

    @property
    def new(self) -> int:
        """Files that were not in the lake before."""
        return sum(f.status == "landed" for f in self.files)
