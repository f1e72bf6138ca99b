"""Runs the steps of a restore, in order. Each may be repeated from its beginning."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx

from artifacts.ledger import Ledger, PlannedMove
from artifacts.object_store import ObjectStore, Stored
from artifacts.publish import manifest_key, point, resolve
from contracts.errors import RecoveryError, RestoreRefused, Tampered
from contracts.recovery import RestoreStep
from contracts.region import other
from contracts.release import IN_FLIGHT, State
from recovery.restore import database, erasures, fencing, online_store, suspended
from recovery.restore.context import Restore, Step
from recovery.restore.health import answering_parts, ready, wait_until
from recovery.restore.recovery_point import Point, as_plan, choose, log_end, of_plan
from recovery.shipping import journal, objects
from recovery.snapshots import retention, verify
from recovery.snapshots.consistency_point import registered_digests
from recovery.vault.encryption import fingerprints
from recovery.vault.manifest import Entry, Snapshot
from releases.rollout.aliases import reconcile
from releases.served_shop import serving_source
from serving import reach
from serving.edge import edge
from serving.edge.arm_assignment import SHADOW

#: Services that write to the stores; stopped before the stores.
WRITERS = ("controller", "feed", "engine", "engine-control", "engine-canary", "engine-former", "mlflow")
_TRANSFERS = 8
_PROBES = 8
_SERVING: tuple[State, ...] = ("champion",)


def preflight(run: Restore) -> str:
    """Start the target's object store, and check whether this restore may be done at all."""
    run.machine.start("s3", "redis")
    return look_first(run)


def look_first(run: Restore) -> str:
    """Return what was found; raise RestoreRefused if the other region is alive, or the target active or full."""
    away = other(run.s.region)
    alive = answering_parts(run.s, away)
    if alive and not run.options.although_alive:
        raise RestoreRefused(
            f"the region {away} looks alive: its {' and its '.join(alive)} still answer",
            remedy="stop it first (two active regions lose writes); or --although-alive, a box of Airflow's form too",
        )
    epoch, own = fencing.active_epoch(run.s), {(run.plan or {}).get("epoch"), run.epoch_before}
    if epoch is not None and epoch not in own and not run.options.although_active:
        raise RestoreRefused(
            f"{run.s.region} is the active region, epoch {epoch}: a restore replaces all it took since",
            remedy="`caravan region` shows who is active; --although-active (a box in Airflow too) gives that up",
        )
    free = shutil.disk_usage(next(p for p in (run.s.paths.home, *run.s.paths.home.parents) if p.exists())).free
    if free < 1 << 30:
        raise RestoreRefused(f"only {free / 1e9:.1f} GB are free at {run.s.paths.home}", remedy="make room")
    return f"{away} {'answers' if alive else 'is silent'}; {free / 1e9:.0f} GB free"


def decide(run: Restore) -> str:
    """Choose the recovery point once; a restore that resumes keeps its snapshot and its end of log."""

    def sound(snapshot: Snapshot) -> None:
        if (why := run.damaged.get(snapshot.id)) is not None:
            raise Tampered(why, remedy="restore the snapshot before it")
        # what is lost of the event log is left blank, rather than to lose the region for it
        verify.demand(run.vault, snapshot, s=run.s, event_log=bool(run.point.snapshot))

    if run.plan is None:
        run.chosen = choose(run.vault, run.s, run.point, sound=sound, tell=run.tell)
        run.plan = as_plan(run.chosen)
    else:
        # it was found sound when it was chosen; every part is checked again when it is used
        named = choose(run.vault, run.s, Point.parse(run.plan["snapshot"]), sound=lambda _snapshot: None, tell=run.tell)
        run.chosen = of_plan(run.plan, named.snapshot)
    snapshot, short = run.chosen.snapshot, run.chosen.cut_short
    until = f"; only up to {run.chosen.at:%H:%M:%S} UTC, because {short}" if short else ""
    passed = f"{len(run.chosen.passed_over)} newer ones passed over"
    return f"{snapshot.id} of {snapshot.at:%Y-%m-%d %H:%M:%S} UTC; {passed}{until}"


def check_keys(run: Restore) -> str:
    """Raise RestoreRefused unless our keys are those the snapshot was taken with, compared by their fingerprints."""
    snapshot = run.choice.snapshot
    if snapshot.region == run.s.region:
        raise RestoreRefused(
            f"{snapshot.id} is of the region {run.s.region} itself", remedy="restore into the other region"
        )
    ours = {name: fingerprints(value) for name, value in run.machine.keys().items()}
    lacking = sorted(name for name in snapshot.keys if name not in ours)
    other = sorted(name for name, known in snapshot.keys.items() if known not in ours.get(name, {known}))
    if lacking or other:
        said = [f"{name} is missing" for name in lacking] + [f"{name} is another key" for name in other]
        raise RestoreRefused("; ".join(said), remedy="put the copy of the secrets folder in place, then try again")
    size = snapshot.objects.size + sum(part.size for part in snapshot.parts())
    free = shutil.disk_usage(run.s.home).free
    if free < 3 * size + (1 << 30):
        raise RestoreRefused(
            f"{snapshot.id} needs about {3 * size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free", remedy="make room"
        )
    return f"{len(ours)} keys fit"


def replace_database(run: Restore) -> str:
    """Replace the target's database by the snapshot's and the log after it."""
    if not run.choice.exact and run.choice.at is None:
        # what the other region wrote while its lease ran out belongs to it
        run.chosen = replace(run.choice, log_end=log_end(run.vault, run.choice.snapshot))
        run.plan = (run.plan or {}) | as_plan(run.chosen)
    run.machine.stop(*WRITERS, "postgres")
    epoch = int((run.plan or {}).get("epoch") or 0)
    database.restore(run.s, run.vault, run.machine, run.choice, run.tell, epoch=epoch)
    run.machine.start("postgres")
    fencing.open_database(run)
    moves = Ledger.of(run.s).verify()
    return f"the ledger's chain holds, {moves} moves"


def artifacts(run: Restore) -> str:
    """Copy everything the buckets held to the target's buckets, under the same names; remove pointers not among it."""
    wanted = _inventory(run)
    stores = {bucket: ObjectStore.of(run.s, bucket) for bucket in (run.s.bucket, run.s.mlflow_bucket)}
    present: dict[tuple[str, str], Stored] = {}
    for bucket, store in stores.items():
        store.ensure_bucket()
        present |= {(bucket, stored.key): stored for stored in store.list("")}
    lacking = []
    for name, entry in wanted.items():
        there = present.get(name)
        # names that promise their content are written once, verified; engines verify again before they serve
        if there is None or there.size != entry.size or not entry.key.startswith(("blobs/", "manifests/")):
            lacking.append(entry)
    lacking.sort(key=lambda e: (not e.key.startswith("blobs/"), e.key.startswith("refs/")))
    staging = run.s.cache / "restoring"
    staging.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=staging) as folder, ThreadPoolExecutor(_TRANSFERS) as pool:

        def bring(entry: Entry) -> int:
            path = run.vault.download(entry, Path(folder))
            try:
                stores[entry.bucket].put(entry.key, path)
            finally:
                path.unlink()
            return entry.size

        first = [e for e in lacking if not e.key.startswith("refs/")]
        moved = 0
        for group in (first, [e for e in lacking if e.key.startswith("refs/")]):  # a pointer after what it names
            for done, size in enumerate(pool.map(bring, group), start=1):
                moved += size
                if done % 50 == 0 or done == len(group):
                    run.tell(f"{done} of {len(group)} objects")
    own = f"refs/serving/{run.s.region}/champion.json"  # a later step's, when this is done again
    stale = [n for n in present if n not in wanted and n[1].startswith("refs/") and n[1] != own]
    for bucket, key in stale:
        stores[bucket].delete(key)
    return f"{len(lacking)} of {len(wanted)} objects brought ({moved / 1e6:.1f} MB), {len(stale)} old pointers removed"


def registry(run: Restore) -> str:
    """Start the model registry, set its aliases from the ledger, and check that each version has its files."""
    run.machine.start("mlflow")
    store, versions = ObjectStore.of(run.s), registered_digests(run.s)
    lost = [digest for digest in versions if store.head(manifest_key(digest)) is None]
    if lost:
        raise RecoveryError(f"version {min(lost)[:12]} has no files", remedy="restore a newer snapshot")
    changes = 0
    ledger = Ledger.of(run.s)
    for source in sorted({place.source for place in ledger.releases()}):
        with suppress(httpx.HTTPStatusError):  # a source whose releases were never registered has no model
            changes += len(reconcile(run.s, ledger, source))
    return f"{len(versions)} versions have their files, {changes} aliases set"


def online_features(run: Restore) -> str:
    """Refill the online store from the newest feature tables and the events that came after them."""
    return online_store.refill(run.s, run.choice, run.tell)


def engines(run: Restore) -> str:
    """Start the engine with the ledger's champion; roll back releases in flight: no canary survives its region."""
    fencing.open_database(run)  # again: a keeper that started meanwhile, or half an hour, may have closed it
    ledger, store = Ledger.of(run.s), ObjectStore.of(run.s)
    for place in () if run.options.rehearsal else ledger.releases(among=IN_FLIGHT):
        ledger.move(PlannedMove(
            source=place.source, digest=place.digest, to="rolled_back", expected=place.state, actor="recovery",
            reason=f"the region was restored: {run.options.reason}"[:2000],
        ))  # fmt: skip
    champion = _champion(ledger)
    if champion is None:
        run.machine.start("engine")
        return "the ledger has no champion: nothing is to be served"
    ref = f"serving/{run.s.region}/champion"
    if resolve(store, ref) != champion:
        point(store, ref, champion)
    run.machine.start("engine")
    wait_until(lambda: ready(run.s, run.s.engine_address) == champion, f"the engine does not serve {champion[:12]}")
    return f"the engine serves {champion[:12]}"


def probe(run: Restore) -> str:
    """Ask the engine a set of questions; when the champion answers each with items, mark the snapshot as proven."""
    champion = _champion(Ledger.of(run.s))
    if champion is None:
        return "nothing to ask"
    unseen = {"host": f"probe{SHADOW}"}  # no shopper saw these answers: they are not in the log of what was shown
    with reach.client(run.s.engine_address, headers=unseen, timeout=5.0) as client:
        for number in range(_PROBES):
            try:
                answer = client.post("/recommend", json={"user_id": f"probe-{number}"})
            except httpx.HTTPError as error:
                raise RecoveryError(
                    f"the engine does not answer a question: {error}", remedy="a rerun goes on here"
                ) from error
            body = answer.json() if answer.is_success else {}
            if body.get("release") != champion or not body.get("items"):
                raise RecoveryError(
                    f"the engine answers {answer.status_code} with {len(body.get('items') or [])} items",
                    remedy="see `caravan logs standby-engine`; a rerun goes on here",
                )
    evidence = {"region": run.s.region, "release": champion, "questions": _PROBES}
    retention.prove(run.vault, run.s, run.choice.snapshot, evidence)
    return f"{_PROBES} questions answered: {run.choice.snapshot.id} is proven"


def open_edge(run: Restore) -> str:
    """Route all shoppers to the champion's engine."""
    champion = _champion(Ledger.of(run.s))
    folder = run.s.paths.edge
    folder.mkdir(parents=True, exist_ok=True)
    edge.write_routes(folder, edge.TrafficSplit(), run.s)
    run.machine.start("edge")
    if champion is None:
        return "the edge runs; nothing is to be served"
    wait_until(lambda: ready(run.s, run.s.edge_address) == champion, "the edge does not lead to the champion")
    return f"shoppers get {champion[:12]}"


def open_for_writes(run: Restore) -> str:
    """Start the controller and the engines of a canary, last of all."""
    if run.options.rehearsal:
        run.machine.start("engine-control", "engine-canary", "engine-former")
        return "all engines run; the region stays closed"
    fencing.open_database(run)
    snapshot, epoch = run.choice.snapshot, (run.plan or {}).get("epoch", 0)
    evidence = {"region": run.s.region, "from": snapshot.region, "snapshot": snapshot.id, "epoch": epoch}
    reason = run.options.reason or "a restore"
    Ledger.of(run.s).note("", "", "took_over", actor="recovery", reason=reason, evidence=evidence)
    fencing.hand_over(run)
    run.machine.start("engine-control", "engine-canary", "engine-former", "controller", "feed")
    suspended.clear(run.s)
    return "the controller runs"


_FUNCTIONS: dict[RestoreStep, Step] = {
    RestoreStep.PREFLIGHT: preflight,
    RestoreStep.CHOOSE: decide,
    RestoreStep.KEYS: check_keys,
    RestoreStep.FENCE: fencing.fence_off,
    RestoreStep.DATABASE: replace_database,
    RestoreStep.ARTIFACTS: artifacts,
    RestoreStep.ERASURES: erasures.apply,
    RestoreStep.REGISTRY: registry,
    RestoreStep.FEATURES: online_features,
    RestoreStep.ENGINES: engines,
    RestoreStep.PROBE: probe,
    RestoreStep.EDGE: open_edge,
    RestoreStep.OPEN: open_for_writes,
}
#: The steps of a restore, in order.
STEPS: Mapping[str, Step] = {step.value: _FUNCTIONS[step] for step in RestoreStep}


def _inventory(run: Restore) -> objects.Inventory:
    """Return what the buckets held at the recovery point: the snapshot's list, and what was noted after it."""
    chosen = run.choice
    found = objects.read_inventory(run.vault, chosen.snapshot.objects.inventory)
    if chosen.exact:
        return found
    return found | journal.since(run.vault, run.s, chosen.snapshot.system, chosen.snapshot.at, chosen.at)


def _champion(ledger: Ledger) -> str | None:
    source = serving_source(ledger)
    if source is None:
        return None
    places = ledger.releases(source, among=_SERVING)
    return places[0].digest if places else None
