"""Writes down all that a shop holds of one shopper: from the same places, and by the same look, as an erasure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from artifacts.files import replacing
from contracts.errors import CaravanError
from contracts.region import RegionName
from contracts.settings import Settings
from recovery.erasure.forget import Progress, silent
from recovery.erasure.list_of_erased import pseudonym_of
from recovery.erasure.places import ErasurePlace, places
from recovery.erasure.rows import ErasureSubject

FORMAT = 1
#: Everything there is, also what a clock ahead has dated into the future.
_ALL = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Rows written per kind, of one region. `unreached` gives the error per place that did not answer."""

    region: str
    rows: Mapping[str, int]
    unreached: Mapping[str, str]


def export_shopper(
    s: Settings, regions: Sequence[RegionName], shopper: str, to: Path, *, hashed: bool | None = None,
    progress: Progress = silent,
) -> list[ExportReport]:  # fmt: skip
    """Write what these regions hold of one shopper into `to`, as JSON lines; return one report per region.

    The first line says whose it is and as of when; each other one is a row with its region, place and kind. Rows are as
    they are kept: with pseudonyms, never with the identifier that the shop sends, except in the edge's log. The file is
    readable by its owner alone, and there when it is whole. Raises SettingsError, OSError.
    """
    name = pseudonym_of(shopper, s, hashed=hashed)
    clear = {} if shopper == name else {shopper: name}
    to.parent.mkdir(parents=True, exist_ok=True)
    with replacing(to) as part:
        part.touch(mode=0o600)
        with part.open("w", encoding="utf-8") as file:
            _write(file, {"format": FORMAT, "shopper": name, "at": datetime.now(UTC).isoformat(), "regions": regions})
            return [
                export_region(
                    s.of_region(region), ErasureSubject({name: _ALL}, clear=clear), file,
                    progress=lambda place, what, region=region: progress(f"{region} {place}", what),  # type: ignore[misc]
                )
                for region in regions
            ]  # fmt: skip


def export_region(
    s: Settings, whom: ErasureSubject, file: IO[str], *, among: Sequence[ErasurePlace] | None = None,
    progress: Progress = silent,
) -> ExportReport:  # fmt: skip
    """Write the rows of one region; a place that does not answer stops no other."""
    rows: Counter[str] = Counter()
    unreached: dict[str, str] = {}
    for place in among if among is not None else places(s):
        try:
            progress(place.name, "is looked through")
            place.look(whom)
            before = rows.total()
            for kind, row in place.rows(whom):
                _write(file, {"region": s.region, "place": place.name, "kind": kind, "row": row})
                rows[kind] += 1
            progress(place.name, f"{rows.total() - before} rows")
        except (CaravanError, OSError) as error:
            unreached[place.name] = str(error)
            progress(place.name, f"not done: {error}")
    return ExportReport(region=s.region, rows=dict(rows), unreached=unreached)


def _write(file: IO[str], line: Mapping[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False, default=_text) + "\n")


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
