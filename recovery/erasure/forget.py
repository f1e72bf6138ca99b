"""Erases a shopper: records the erasure, removes the rows place by place, then looks again.

Each place is searched, erased and searched again, because others write meanwhile. A place that does not answer does not
stop the others: the recorded entry lets the same command finish it later, and every restore applies it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

from artifacts.object_store import ObjectStore
from contracts.errors import CaravanError, ErasureUnfinished, SettingsError
from contracts.region import RegionName
from contracts.settings import Settings
from ingestion.pseudonymize import PSEUDONYM
from recovery.erasure.list_of_erased import Erasure, ErasureList, checked_reason, latest, pseudonym_of
from recovery.erasure.places import ErasurePlace, places
from recovery.erasure.rows import ErasureSubject
from recovery.vault import vault_lock
from recovery.vault.encryption import Sealer
from recovery.vault.vault import Vault

#: Called with the place's name and what is being done there.
Progress = Callable[[str, str], None]
#: Rounds of removing and looking again, after which what is still found counts as left.
_ROUNDS = 3
#: Signed kinds, which cannot be rewritten. Releases made since format 2 of the bundle hold no row of a shopper.
SIGNED = ("release",)
#: Seconds to wait for a snapshot or the replicator to finish with the vault.
VAULT_LOCK_TIMEOUT_S = 120.0


def silent(_place: str, _what: str) -> None:
    """Report no progress."""


@dataclass(frozen=True, kw_only=True)
class ErasureReport:
    """Rows, lines or keys found and left, per kind. `unreached` gives the error per place that did not answer."""

    region: str
    found: Mapping[str, int]
    left: Mapping[str, int]
    unreached: Mapping[str, str]

    @property
    def removed(self) -> dict[str, int]:
        return {kind: number - self.left.get(kind, 0) for kind, number in self.found.items()}

    @property
    def finished(self) -> bool:
        return not self.unreached and not any(self.left.values())


def find_rows(
    s: Settings, whom: ErasureSubject, *, among: Sequence[ErasurePlace] | None = None, progress: Progress = silent
) -> ErasureReport:
    """Count what a region holds of the erased shoppers, without removing or recording anything."""
    return _go(s.region, among if among is not None else places(s), whom, progress, rounds=0)


def erase(
    s: Settings, whom: ErasureSubject, *, among: Sequence[ErasurePlace] | None = None, progress: Progress = silent
) -> ErasureReport:
    """Remove the shoppers' rows from a region, and look again."""
    return _go(s.region, among if among is not None else places(s), whom, progress, rounds=_ROUNDS)


def _go(
    region: str, among: Iterable[ErasurePlace], whom: ErasureSubject, progress: Progress, *, rounds: int
) -> ErasureReport:
    found: Counter[str] = Counter()
    left: Counter[str] = Counter()
    unreached: dict[str, str] = {}
    for place in among:
        try:
            progress(place.name, "is looked through")
            here = last = place.look(whom)
            for _ in range(rounds):
                if not any(last.values()):
                    break
                progress(place.name, f"{last.total()} are removed")
                place.erase(whom)
                before, last = last, place.look(whom)
                if last == before:
                    break  # it does not go: it is in what cannot be changed
            progress(place.name, f"{here.total()} found" + (f", {last.total()} left" if rounds else ""))
            found += here | last
            left += last if rounds else Counter()
        except (CaravanError, OSError) as error:
            unreached[place.name] = str(error)
            progress(place.name, f"not done: {error}")
    return ErasureReport(region=region, found=dict(found), left=dict(+left), unreached=unreached)


def open_list(s: Settings, *, without_vault: bool = False) -> tuple[ErasureList, Vault | None]:
    """Return the region's list of erasures, and the vault. Raises ErasureUnfinished when the vault cannot be asked.

    `without_vault` keeps the list in the region's own store only; later snapshots copy it from there.
    """
    own = ObjectStore.of(s)
    if without_vault:
        return ErasureList(Sealer.of(s), own=own), None
    vault = Vault.of(s)
    try:
        next(iter(vault.store.list("erasures/")), None)
    except CaravanError as error:
        raise ErasureUnfinished(
            f"the vault cannot be asked, so a restore would bring the shopper back: {error.what}",
            remedy="start the region that keeps the snapshots; where there is none: `caravan forget --without-vault`",
        ) from error
    return ErasureList(Sealer.of(s), own=own, vault=vault.store), vault


def plan_erasure(
    s: Settings,
    regions: Sequence[RegionName],
    shopper: str,
    *,
    hashed: bool | None = None,
    progress: Progress = silent,
) -> list[ErasureReport]:
    """Return the dry run: what these regions hold of one shopper. Nothing is removed and nothing is recorded."""
    entry = Erasure(
        pseudonym=pseudonym_of(shopper, s, hashed=hashed), at=datetime.now(UTC), by="", reason="", region=s.region
    )
    whom = subject_of([entry], shopper)
    return [find_rows(s.of_region(region), whom, progress=_named(progress, region)) for region in regions]


def is_pseudonym(
    s: Settings, regions: Sequence[RegionName], shopper: str, *, progress: Progress = silent
) -> bool | None:
    """Find out what a name in the shape of a pseudonym is; None for any other name, or where it finds nothing.

    A shop's own identifier may have that shape, and then finds nobody as a pseudonym. Raises SettingsError where it
    finds somebody as either: they are two persons.
    """
    if not PSEUDONYM.match(shopper):
        return None
    plans = {h: plan_erasure(s, regions, shopper, hashed=h, progress=progress) for h in (True, False)}
    meant = [hashed for hashed, reports in plans.items() if any(report.found for report in reports)]
    if len(meant) == 1:
        return meant[0]
    silent_places = sorted({place for reports in plans.values() for report in reports for place in report.unreached})
    if not meant and not silent_places:
        return None
    why = f"{', '.join(silent_places)} cannot be asked" if silent_places and not meant else "both are found"
    raise SettingsError(
        f"the name can mean the shopper with this pseudonym, or the one whom the shop calls so ({why})",
        remedy="say which: `caravan forget --pseudonym` or `caravan forget --identifier`",
    )


def erase_shopper(
    s: Settings, regions: Sequence[RegionName], shopper: str, *, by: str, reason: str, without_vault: bool = False,
    hashed: bool | None = None, progress: Progress = silent,
) -> list[ErasureReport]:  # fmt: skip
    """Erase one shopper from these regions; return one report per region.

    The shopper is named by the shop's identifier or by pseudonym (`hashed`). The erasure is recorded before anything is
    removed; running it again finishes what could not be reached. Raises SettingsError before anything is recorded,
    ErasureUnfinished without a vault, Conflict while a snapshot is being taken.
    """
    pseudonym, reason = pseudonym_of(shopper, s, hashed=hashed), checked_reason(reason, shopper)
    listed, vault = open_list(s, without_vault=without_vault)
    with hold_vault_lock(vault, s):
        entry = Erasure(pseudonym=pseudonym, at=datetime.now(UTC), by=by, reason=reason, region=s.region)
        listed.add(entry)
        return [
            erase(s.of_region(region), subject_of([entry], shopper), progress=_named(progress, region))
            for region in regions
        ]


def apply_again(
    s: Settings, regions: Sequence[RegionName], *, without_vault: bool = False, progress: Progress = silent
) -> list[ErasureReport]:
    """Apply the whole list to these regions: to rows brought in since, and to what an earlier run did not reach."""
    listed, vault = open_list(s, without_vault=without_vault)
    with hold_vault_lock(vault, s):
        whom = latest(listed.entries())
        listed.foreign.alert(s)
        return [
            erase(s.of_region(region), ErasureSubject(whom), progress=_named(progress, region)) for region in regions
        ]


def subject_of(entries: Iterable[Erasure], shopper: str = "") -> ErasureSubject:
    """Return the shoppers of these entries. A `shopper` in the clear is also searched for in the edge's logs."""
    until = latest(entries)
    clear = {} if not shopper or shopper in until else dict.fromkeys([shopper], next(iter(until)))
    return ErasureSubject(until, clear=clear)


def _named(progress: Progress, region: str) -> Progress:
    return lambda place, what: progress(f"{region} {place}", what)


@contextmanager
def hold_vault_lock(vault: Vault | None, s: Settings) -> Iterator[None]:
    """Hold the vault lock, so that no snapshot is taken meanwhile: it could capture an erasure half done."""
    with (
        vault_lock.hold(vault.store, f"erasure in {s.region}", patience=VAULT_LOCK_TIMEOUT_S)
        if vault
        else nullcontext()
    ):
        yield
