"""Applies erasures again to everything a restore brought back: a snapshot does not know the later ones."""

from __future__ import annotations

from artifacts.object_store import ObjectStore
from contracts.errors import NotFound, RecoveryError, StoreUnavailable, Tampered
from recovery.erasure import logs
from recovery.erasure.forget import SIGNED, erase
from recovery.erasure.list_of_erased import ErasureList, latest
from recovery.erasure.places import Copies, ErasurePlace, Logs, ObjectPlace
from recovery.erasure.rows import ErasureSubject
from recovery.restore import online_store
from recovery.restore.context import Restore


def apply(run: Restore) -> str:
    """Unpack the event log, and apply the whole list of erasures to all that was restored; return what was done.

    A step of a restore. Raises what reading the list raises, and RecoveryError when a row is left: in neither case may
    anything be served.
    """
    s = run.s
    logs.finish(s.paths.home)  # what was begun belongs to the log that was here before
    lost: list[str] = []

    def tell(text: str) -> None:
        lost.append(text)
        run.tell(text)

    laid_out = f"{online_store.unpack_event_log(s, run.vault, run.choice, tell)} bytes of event log"
    laid_out += f", {len(lost)} pieces of it blank, since they cannot be read" if lost else ""
    try:
        # the step `keys` has found the snapshot key to be the right one
        listed = ErasureList(run.vault.sealer, own=ObjectStore.of(s), vault=run.vault.store, key_is_known=True)
        entries = listed.entries()
    except (Tampered, NotFound) as error:  # no snapshot is to blame, and an older one would not help
        raise RecoveryError(
            f"the list of erased shoppers cannot be read: {error.what}",
            remedy="bring that object back from another copy; a rerun goes on here",
        ) from error
    if listed.foreign:
        run.tell(listed.foreign.sentence())
        listed.foreign.alert(s)
    if not entries:
        return f"{laid_out}; nobody was erased"
    whom = ErasureSubject(latest(entries))
    # the online store is emptied and filled from these
    among: list[ErasurePlace] = [Logs(s), ObjectPlace.of(s), Copies(s)]
    report = erase(s, whom, among=among, progress=lambda place, what: run.tell(f"{place}: {what}"))
    if report.unreached:
        raise StoreUnavailable("; ".join(report.unreached.values()), remedy="a rerun goes on here")
    if rows := {kind: number for kind, number in report.left.items() if kind not in SIGNED}:
        raise RecoveryError(
            f"rows of erased shoppers are left: {', '.join(f'{n} in {kind}' for kind, n in rows.items())}",
            remedy="a rerun goes on here; `caravan forget --again` shows them",
        )
    said = f"{laid_out}; {len(whom.until)} shoppers erased again, {sum(report.removed.values())} rows"
    return said + (f"; {sum(report.left.values())} rows are in signed releases" if report.left else "")
