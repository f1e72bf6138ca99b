"""What the gate said, night by night, and the alerts that come of many nights rather than of one.

A verdict is an artifact like everything else that a night makes; `nights/<source>/<day>` points to it. A backfill's are
kept too, but they are no nights, and nothing points to them: who backfills sees how it ends.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from artifacts.lake import Lake
from artifacts.publish import Store, point, publish, read_manifest, refs, resolve
from contracts.settings import Settings
from monitoring import alerts

#: Pointers to the verdicts of nights.
NIGHTS = "nights"
VERDICT_JSON = "verdict.json"
PART = "nightly"
#: Nights in a row that the gate may refuse, and days a champion may fall behind the nights, before somebody is told.
REFUSED_NIGHTS, CHAMPION_DAYS = 7, 7


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate said of one evaluation; `says` is every reason, or what speaks for it."""

    evaluation: str
    passed: bool
    says: str


def keep(lake: Lake, day: str, decision: Mapping[str, Any], says: str, *, night: bool) -> str:
    """Digest of the gate's decision of this day; with `night` it is remembered as that night's."""
    about = {"evaluation": decision["evaluation"], "passed": bool(decision["passed"]), "says": says}
    with tempfile.TemporaryDirectory(prefix="caravan-verdict-") as name:
        text = json.dumps(dict(decision), indent=1, sort_keys=True, ensure_ascii=False)
        (Path(name) / VERDICT_JSON).write_text(f"{text}\n")
        meta = {**about, "source": lake.source, "day": day}
        digest = publish(lake.store, Path(name), kind="verdict", meta=meta).digest
    if night:
        point(lake.store, f"{NIGHTS}/{lake.source}/{day}", digest)
    return digest


def read(store: Store, digest: str) -> Verdict:
    """A verdict that was kept."""
    meta = read_manifest(store, digest).meta
    return Verdict(evaluation=str(meta["evaluation"]), passed=bool(meta["passed"]), says=str(meta["says"]))


def refused_since(store: Store, source: str, day: str) -> list[tuple[str, Verdict]]:
    """The nights up to `day` that were refused since one last passed, oldest first."""
    prefix = f"{NIGHTS}/{source}"
    nights = [name.removeprefix(f"{prefix}/") for name in refs(store, prefix)]
    found: list[tuple[str, Verdict]] = []
    for night in sorted((name for name in nights if name <= day), reverse=True):
        digest = resolve(store, f"{prefix}/{night}")
        if digest is None or (verdict := read(store, digest)).passed:
            break
        found.append((night, verdict))
    return found[::-1]


def watch(
    s: Settings, store: Store, source: str, day: str, champion: str | None, *, now: datetime | None = None
) -> None:
    """Tell, once each, that the gate refused too many nights in a row, and that the champion has become old."""
    refused = refused_since(store, source, day)
    if len(refused) >= REFUSED_NIGHTS:
        (first, _), (last, verdict) = refused[0], refused[-1]
        text = f"the gate refused the last {len(refused)} nights of {source}, {first} to {last}: {verdict.says}"
        about = f"{source} refused since {first}"
        alerts.tell_once(s, about, part=PART, severity="warning", text=text, now=now)
    if champion is None:
        return
    made = str(read_manifest(store, champion).meta["day"])
    behind = (date.fromisoformat(day) - date.fromisoformat(made)).days
    if behind > CHAMPION_DAYS:
        text = (
            f"the champion {champion[:12]} of {source} is of {made}, {behind} days before the last night ({day}); "
            "`caravan release list` shows what became of later ones"
        )
        alerts.tell_once(s, f"champion {champion} is old", part=PART, severity="warning", text=text, now=now)
