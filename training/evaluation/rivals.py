"""Chooses which releases a night's model meets, and which it starts from, at the night's first run; remembers them.

Comparable is only a release that learned from nothing later than the challenger does (`lineage.json`, cutoff_us): it
would know the answers. Running the night again meets the same rivals, also after others have become champion, so that
the same day gives the same bytes.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.lake import Lake
from artifacts.ledger import Ledger
from artifacts.publish import fetch, point, publish, read_file, read_manifest, resolve
from contracts import release as files
from contracts.errors import ArtifactError, Conflict
from contracts.settings import Settings
from training import recipes
from training.data import inputs
from training.jobs import job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifacts.ledger import Move
    from training.recipes import Recipe

log = logging.getLogger(__name__)

#: Champions that ended longer ago, counted back from when the present one took over, are no anchors; nor are more than
#: so many. Counted from there, and not from now: while everything is refused the window must not close.
ANCHOR_DAYS, MOST_ANCHORS = 30, 30
FILE = "rivals.json"


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """Digests of releases: the champion, the anchors, and the one to start from.

    Anchors are the champion itself, the champions of the 30 days before it took over, and those that answered better
    than it when it was measured.
    """

    champion: str | None = None
    anchors: tuple[str, ...] = ()
    start_from: str | None = None


def choose(s: Settings, source: str, day: str, recipe_name: str) -> Rivals:
    """Choose the rivals of the training of `day`, or read those chosen before. Raises NotFound without data."""
    lake, recipe = Lake.of(s, source), recipes.get(recipe_name)
    which = inputs.partitions(lake, day)
    ref = f"rivals/{source}/{inputs.key_of(source, day, recipe, which)}"
    chosen = resolve(lake.store, ref)
    if chosen is None:
        cutoff = inputs.read_inputs(lake, day, recipe, which).cutoff
        found = among(Ledger.of(s).history(source), lambda digest: _lineage(lake, digest), cutoff, day, recipe)
        with tempfile.TemporaryDirectory(prefix="caravan-rivals-") as name:
            (Path(name) / FILE).write_bytes(job.to_json(asdict(found)))
            chosen = publish(lake.store, Path(name), kind="rivals", meta={"source": source, "day": day}).digest
        try:
            point(lake.store, ref, chosen, expected=None)
        except Conflict:  # another run of this day was quicker
            chosen = resolve(lake.store, ref) or chosen
    body = json.loads((fetch(lake.store, chosen, s.cache / "objects") / FILE).read_text())
    return Rivals(**{**body, "anchors": tuple(body["anchors"])})


def among(moves: Sequence[Move], lineage_of: Any, cutoff_us: int, day: str, recipe: Recipe) -> Rivals:
    """Choose from the ledger's moves of one source, oldest first; `lineage_of` reads a release's lineage, or None."""
    served: list[tuple[str, Any, Any]] = []  # digest, from, until
    for move in moves:
        if move.to_state == "champion":
            served = [(d, start, end or move.at) for d, start, end in served]
            served.append((move.digest, move.at, None))
        elif served and served[-1][0] == move.digest and move.from_state == "champion":
            served[-1] = (*served[-1][:2], move.at)
    if not served or served[-1][2] is not None:
        return Rivals()
    champion, began, _ = served[-1]
    lineage = lineage_of(champion)
    if lineage is None or int(lineage["cutoff_us"]) > cutoff_us:
        log.info("champion %s is not comparable: it learned from later events, or cannot be read", champion[:12])
        return Rivals()
    anchors = [champion]
    # Those that answered better than the champion stay, however long ago they served: a shop that loses a little every
    # night would else measure itself by what it has lost already.
    kept = [(str(digest), began, began) for digest in lineage.get("anchors", ())]
    for digest, _, end in [*kept, *reversed(served[:-1])]:
        if digest in anchors or len(anchors) == MOST_ANCHORS or end < began - timedelta(days=ANCHOR_DAYS):
            continue
        about = lineage_of(digest)
        if about is not None and int(about["cutoff_us"]) <= cutoff_us:
            anchors.append(digest)
    return Rivals(
        champion=champion, anchors=tuple(anchors), start_from=champion if _warm(lineage, day, recipe) else None
    )


def _warm(lineage: dict[str, Any], day: str, recipe: Recipe) -> bool:
    """Say whether a training may go on from that release: of the same recipe, and its line is not too long."""
    began = lineage.get("full_training_day")
    if began is None or dict(lineage["recipe"]).get("name") != recipe.name:
        return False  # a release of an earlier version, or trained otherwise
    return date.fromisoformat(day) < date.fromisoformat(began) + timedelta(days=recipe.full_every_days)


def _lineage(lake: Lake, digest: str) -> dict[str, Any] | None:
    """Read what a release says of its origin; None where its files are gone or damaged."""
    try:
        data = read_file(lake.store, read_manifest(lake.store, digest), files.LINEAGE)
        return dict(json.loads(data)) if data is not None else None
    except (ArtifactError, OSError, ValueError) as error:
        log.warning("the lineage of release %s cannot be read: %s", digest[:12], error)
        return None
