"""Whether a snapshot is whole: signature, existence, size; with `deep` every byte, and every part unsealed.

The first bad file is named by the error; `problems` goes on and names all of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contracts.errors import NotFound, Tampered
from contracts.settings import Settings
from recovery import closure, objects
from recovery.manifest import Entry, Part, Snapshot, root_of
from recovery.vault import Vault, part_of

_READS = 8
#: Called with files done and files in all.
Progress = Callable[[int, int], None]


def silent(_done: int, _all: int) -> None:
    """No progress."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was looked at, in files and bytes, and what is wrong, one sentence per file."""

    files: int
    size: int
    problems: tuple[str, ...]


def verify(
    vault: Vault,
    snapshot: Snapshot,
    s: Settings,
    *,
    deep: bool = False,
    event_log: bool = True,
    progress: Progress = silent,
) -> Report:
    """Look at every file of a snapshot. The manifest's own signature held when it was read.

    Without `deep`: each file is there with its size, the list of objects is the one that was signed, and everything
    that its pointers name is in it. With `deep` also every byte. Pieces of the event log are passed over unless
    `event_log`.
    """
    try:
        inventory = objects.read_inventory(vault, snapshot.objects.inventory)
    except (NotFound, Tampered) as error:
        return Report(files=1, size=0, problems=(error.what,))
    wrong = []
    if root_of(snapshot.parts(), inventory.values()) != snapshot.root:
        wrong.append(f"the files of {snapshot.id} are not those that were signed")
    parts = {part.key: part for part in [*snapshot.parts(), *map(part_of, inventory.values())]}
    if not event_log:
        parts = {key: part for key, part in parts.items() if not key.startswith("logs/")}
    wrong += damaged(vault, parts.values(), deep=deep, progress=progress).values()
    if not wrong:
        try:
            wrong += closure.missing(vault, inventory, _bucket(snapshot, s), releases=(), signed=())
        except (NotFound, Tampered) as error:
            wrong.append(error.what)
    return Report(files=len(parts) + 1, size=sum(p.size for p in parts.values()), problems=tuple(wrong))


def damaged(
    vault: Vault, parts: Collection[Part], *, deep: bool = False, progress: Progress = silent
) -> dict[str, str]:
    """What is wrong, by name, with each of these files of which no version is whole; `deep` reads every byte."""
    parts = {part.key: part for part in parts}.values()
    look = _reread if deep else partial(_present, sizes=_sizes(vault, parts))
    found = {}
    with ThreadPoolExecutor(_READS) as pool:
        looked = pool.map(lambda part: (part.key, look(vault, part)), parts)
        for done, (key, problem) in enumerate(looked, start=1):
            if problem:
                found[key] = problem
            progress(done, len(parts))
    return found


def demand(vault: Vault, snapshot: Snapshot, s: Settings, *, deep: bool = False, event_log: bool = True) -> None:
    """Raise Tampered with the first bad file unless the snapshot is whole."""
    report = verify(vault, snapshot, s, deep=deep, event_log=event_log)
    if report.problems:
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        raise Tampered(
            f"snapshot {snapshot.id} is not whole: {report.problems[0]}{more}", remedy="take the snapshot before it"
        )


def _bucket(snapshot: Snapshot, s: Settings) -> str:
    return str(snapshot.settings.get("bucket", s.bucket))


def _sizes(vault: Vault, parts: Collection[Part]) -> dict[str, int]:
    """Sizes as the store lists them: a few listings instead of a question per file."""
    # by what holds all of a database's parts, or of its event log: a file of the log has a folder of its own
    prefixes = {"/".join(part.key.split("/")[:2]) + "/" for part in parts if not part.key.startswith("objects/")}
    found = {key: stored.size for key, stored in vault.here("objects/").items()}
    for prefix in sorted(prefixes):
        found |= {key: stored.size for key, stored in vault.here(prefix).items()}
    return found


def lacking(vault: Vault, entries: Collection[Entry]) -> str:
    """What is wrong with the first of these objects that is not in the vault; nothing when all are."""
    return next(iter(damaged(vault, [part_of(entry) for entry in entries]).values()), "")


def _present(vault: Vault, part: Part, sizes: dict[str, int]) -> str:
    if sizes.get(part.key) == part.size and part.key not in vault.unreadable:
        return ""
    return _reread(vault, part)  # hidden or written over, which older versions may make good


def _reread(vault: Vault, part: Part) -> str:
    try:
        if part.key.startswith("objects/"):
            return _reread_object(vault, part)
        vault.unsealed(part)
        return ""
    except (NotFound, Tampered) as error:
        return error.what


def _reread_object(vault: Vault, part: Part) -> str:
    with tempfile.TemporaryDirectory(prefix="caravan-verify-") as folder:
        vault.download_part(part, Path(folder))
    return ""
