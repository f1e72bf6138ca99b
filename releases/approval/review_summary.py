"""Writes the review brief, as Markdown: what a person should know before shoppers meet a release.

Everything is read from where it was written down: the ledger, the release's own reports, the day's drift. If a part
is missing, the brief says so. Text of others (names, reasons) is shown as text, never as markup.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from artifacts.publish import read_file, read_manifest, resolve
from contracts import release as files
from contracts.errors import ArtifactError, NotFound
from monitoring.canary_policy import POLICIES
from releases.approval import data_changes
from releases.approval.summary_figures import plain, quality, slices
from releases.served_shop import serving_source

if TYPE_CHECKING:
    from artifacts.ledger import Ledger, Move
    from artifacts.manifest import Manifest
    from artifacts.publish import Store

#: How a policy of canaries is described; any other is named as it is.
WORDS = {
    "default": "Policy **default**: judged by the shop's own traffic.",
    "demo": "Policy **demo**: small, hurried steps with little traffic, to show how it works. "
    "It proves less than `default`; do not let a release meet real shoppers by it.",
}


@dataclass(frozen=True, kw_only=True)
class Brief:
    """The release in words; `day` and `run_id` lead to the pages that show more."""

    title: str
    text: str
    version: int | None = None
    day: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a release; a report that could not be read is empty, and `missing` says why."""

    source: str
    digest: str
    moves: list[Move]
    meta: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    drift: str = ""
    changes: tuple[str, ...] = ()  # large changes of the data that a person let pass
    champion: str | None = None
    serving: str = ""  # the shop whose champion serves the region
    missing: str = ""


def brief(ledger: Ledger, store: Store, source: str, digest: str) -> Brief:
    """Write the brief of one release. Raises NotFound if the ledger does not know it."""
    return compose(gather(ledger, store, source, digest))


def gather(ledger: Ledger, store: Store, source: str, digest: str) -> Facts:
    """Read what is known about the release, file by file, each checked against the manifest."""
    moves = ledger.history(source, digest)
    if not moves:
        raise NotFound(f"no release {digest[:12]} of {source}", remedy="`caravan release list` shows them")
    shop = serving_source(ledger)
    # a region serves one shop: the champion of another is nothing to compare with
    serving = ledger.champion(source) if shop == source else None
    about: dict[str, Any] = {"source": source, "digest": digest, "moves": moves}
    about |= {"champion": serving.digest if serving else None, "serving": shop or ""}
    try:
        manifest = read_manifest(store, digest)
        parts: dict[str, Any] = {
            name: _report(store, manifest, path)
            for name, path in (("evaluation", files.EVALUATION), ("gate", files.GATE), ("lineage", files.LINEAGE))
        }
    except ArtifactError as error:
        return Facts(**about, missing=str(error))
    drift = _drift(store, source, str(manifest.meta.get("day", "")), digest)
    changes = data_changes.large_changes(store, parts["lineage"])
    return Facts(**about, meta=manifest.meta, **parts, drift=drift, changes=changes)


def compose(facts: Facts) -> Brief:
    """Compose the brief from the facts alone."""
    version = next((move.version for move in reversed(facts.moves) if move.version), None)
    gated = next((move for move in reversed(facts.moves) if move.to_state == "gated"), None)
    name = f"{facts.source} version {version}" if version else facts.source
    sections = [
        _origin(facts),
        _before(facts),
        quality(facts.evaluation),
        slices(facts.evaluation),
        _gate(facts.gate),
        _data(facts),
        f"#### Drift\n\n{facts.drift or 'There is no drift report of this day.'}",
        _road(str(gated.evidence.get("policy", "default")) if gated else "default", facts),
        "#### Your answer\n\nIt counts for this digest alone, and is kept with your name and reason:\n\n"
        f"`{facts.digest}`",
    ]
    return Brief(
        title=f"{name}, {facts.digest[:12]}: may it meet shoppers?",
        text="\n\n".join(section for section in sections if section),
        version=version,
        day=str(facts.meta["day"]) if facts.meta.get("day") else None,
        run_id=str(facts.meta["run_id"]) if facts.meta.get("run_id") else None,
    )


def _origin(facts: Facts) -> str:
    built = next((move for move in facts.moves if move.to_state == "built"), None)
    by = plain(built.evidence.get("author") or built.actor) if built else "someone the ledger does not name"
    day = f", on the data up to **{plain(facts.meta['day'])}**" if facts.meta.get("day") else ""
    recipe = f", recipe **{plain(facts.meta['recipe'])}**" if facts.meta.get("recipe") else ""
    against = f"Champion now: `{facts.champion[:12]}`" if facts.champion else "No champion of this shop serves"
    compared = facts.meta.get("champion")
    if facts.meta and compared != facts.champion:  # whom it met is not known without its files
        measured = f"`{str(compared)[:12]}`" if compared else "no champion"
        against += f"; **it was measured against {measured}**" + (", not against this one" if facts.champion else "")
    against += "."
    text = f"Made by **{by}**{day}{recipe}. {against}"
    if facts.missing:
        text += f"\n\n**Its files cannot be read: {plain(facts.missing)}. Do not approve it.**"
    return text


def _before(facts: Facts) -> str:
    """Tell why it was rolled back before: the reviewers should know."""
    back = [move for move in facts.moves if move.to_state == "rolled_back"]
    return "\n".join(
        f"- **Rolled back** on {move.at:%Y-%m-%d %H:%M} UTC by {plain(move.actor)}: {plain(move.reason)}"
        for move in back
    )


def _gate(gate: dict[str, Any]) -> str:
    checks = gate.get("checks", [])
    lines = [f"- {'passed' if check['passed'] else '**refused**'}: {plain(check['sentence'])}" for check in checks]
    return "#### Gate\n\n" + "\n".join(lines) if lines else ""


def _data(facts: Facts) -> str:
    if not facts.lineage:
        return ""
    days = sorted(facts.lineage.get("partitions", {}).get("events", {}))
    window = f"Days {plain(days[0])} to {plain(days[-1])}" if days else f"Up to {plain(facts.meta.get('day', '?'))}"
    count = facts.evaluation.get("train_interactions")
    trained = f", {count} interactions learned from" if count else ""
    code = plain(facts.lineage.get("commit", "unknown"))
    told = "".join(f"\n- **{plain(change)}**" for change in facts.changes)
    return f"#### Data\n\n{window}{trained}; code {code[:12]}." + (f"\n{told}" if told else "")


def _road(policy: str, facts: Facts) -> str:
    if facts.champion is None:
        other = (
            facts.serving
            and f" The region serves **{plain(facts.serving)}** now; its shoppers get these items instead."
        )
        return (
            "#### What follows\n\nNo champion of this shop serves: once approved, the release takes **all shoppers at "
            f"once**, without a canary, because there is no champion to compare it with.{other}"
        )
    text = f"#### What follows\n\n{WORDS.get(policy, f'Policy **{plain(policy)}**.')}"
    if policy in POLICIES:
        steps = "; ".join(
            f"{step.share:g} % ({step.minimum_shoppers} shoppers, {_span(step.minimum_s)} at least)"
            for step in POLICIES[policy].steps
        )
        text += f" After a shadow of copied requests: {steps}."
    return f"{text} Harm on any guardrail ends it at once, and the champion goes on serving."


def _span(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def _report(store: Store, manifest: Manifest, path: str) -> dict[str, Any]:
    """Read one JSON file of the release; empty if the release has none. Raises Tampered."""
    data = read_file(store, manifest, path)
    found = json.loads(data) if data is not None else {}
    return dict(found) if isinstance(found, dict) else {}


def _drift(store: Store, source: str, day: str, release: str) -> str:
    """Say in a sentence how far the day drifted, and from what; empty if it was not reported."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from artifacts.lake import DATA
    from monitoring.drift import DRIFT_TABLE, summarize_drift

    digest = resolve(store, f"lake/{source}/{DRIFT_TABLE}/{day}") if day else None
    if digest is None:
        return ""
    manifest = read_manifest(store, digest)
    data = read_file(store, manifest, DATA)
    if data is None:
        return ""
    found = summarize_drift(pq.read_table(pa.BufferReader(data)), digest=digest)
    reference = str(manifest.meta.get("reference", ""))
    window = "its own training window" if reference == release else f"the window that `{reference[:12]}` was trained on"
    return f"{plain(day)} against {window}: {plain(found)}."
