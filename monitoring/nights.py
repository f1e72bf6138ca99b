"""Keeps the gate's verdicts, night by night, and alerts about many nights rather than about one.

A verdict is an artifact like everything else that a night makes; `nights/<source>/<day>` points to it. A backfill's are
kept too, but they are no nights, and nothing points to them: the person who backfills sees how it ends.
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
#: Nights in a row that the gate may refuse, and days a champion may be behind the nights, before there is an alert.
MAX_REFUSED_NIGHTS, MAX_CHAMPION_AGE_DAYS = 7, 7


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """The gate's verdict on one evaluation; `says` has every reason against it, or the reasons for it."""

    evaluation: str
    passed: bool
    says: str


def keep_verdict(lake: Lake, day: str, decision: Mapping[str, Any], says: str, *, night: bool) -> str:
    """Publish the gate's decision of this day, and return its digest; with `night` it is kept as that night's."""
    about = {"evaluation": decision["evaluation"], "passed": bool(decision["passed"]), "says": says}
    with tempfile.TemporaryDirectory(prefix="caravan-verdict-") as name:
        text = json.dumps(dict(decision), indent=1, sort_keys=True, ensure_ascii=False)
        (Path(name) / VERDICT_JSON).write_text(f"{text}\n")
        meta = {**about, "source": lake.source, "day": day}
        digest = publish(lake.store, Path(name), kind="verdict", meta=meta).digest
    if night:
        point(lake.store, f"{NIGHTS}/{lake.source}/{day}", digest)
    return digest


def read_verdict(store: Store, digest: str) -> GateVerdict:
    """Read a verdict that was kept."""
    meta = read_manifest(store, digest).meta
    return GateVerdict(evaluation=str(meta["evaluation"]), passed=bool(meta["passed"]), says=str(meta["says"]))


def list_refused_nights(store: Store, source: str, day: str) -> list[tuple[str, GateVerdict]]:
    """List the nights up to `day` that were refused since one last passed, oldest first."""
    prefix = f"{NIGHTS}/{source}"
    nights = [name.removeprefix(f"{prefix}/") for name in refs(store, prefix)]
    found: list[tuple[str, GateVerdict]] = []
    for night in sorted((name for name in nights if name <= day), reverse=True):
        digest = resolve(store, f"{prefix}/{night}")
        if digest is None or (verdict := read_verdict(store, digest)).passed:
            break
        found.append((night, verdict))
    return found[::-1]


def watch_nights(
    s: Settings, store: Store, source: str, day: str, champion: str | None, *, now: datetime | None = None
) -> None:
    """Alert, once each, that the gate refused too many nights in a row, and that the champion has become old."""
    refused = list_refused_nights(store, source, day)
    if len(refused) >= MAX_REFUSED_NIGHTS:
        (first, _), (last, verdict) = refused[0], refused[-1]
        text = f"the gate refused the last {len(refused)} nights of {source}, {first} to {last}: {verdict.says}"
        about = f"{source} refused since {first}"
        alerts.tell_once(s, about, part=PART, severity="warning", text=text, now=now)
    if champion is None:
        return
    made = str(read_manifest(store, champion).meta["day"])
    behind = (date.fromisoformat(day) - date.fromisoformat(made)).days
    if behind > MAX_CHAMPION_AGE_DAYS:
        text = (
            f"the champion {champion[:12]} of {source} is of {made}, {behind} days before the last night ({day}); "
            "`caravan release list` shows what became of later ones"
        )
        alerts.tell_once(s, f"champion {champion} is old", part=PART, severity="warning", text=text, now=now)
