"""Checks whether files are in the vault: by size, as the store lists them, or byte by byte."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from contracts.errors import NotFound, Tampered
from recovery.vault.manifest import Entry, Part
from recovery.vault.vault import Vault, part_of

#: Files that are read at the same time.
_READS = 8
#: Called with the number of files done and the total.
Progress = Callable[[int, int], None]


def silent(_done: int, _all: int) -> None:
    """Report no progress."""


def damaged(
    vault: Vault, parts: Collection[Part], *, deep: bool = False, progress: Progress = silent
) -> dict[str, str]:
    """Return what is wrong, by name, with each of these files of which no version is intact.

    With `deep`, every byte is read.
    """
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


def lacking(vault: Vault, entries: Collection[Entry]) -> str:
    """Return what is wrong with the first of these objects that is not in the vault; empty when all are."""
    return next(iter(damaged(vault, [part_of(entry) for entry in entries]).values()), "")


def _sizes(vault: Vault, parts: Collection[Part]) -> dict[str, int]:
    """Return sizes as the store lists them: a few listings instead of one request per file."""
    # by what holds all of a database's parts, or of its event log: a file of the log has a folder of its own
    prefixes = {"/".join(part.key.split("/")[:2]) + "/" for part in parts if not part.key.startswith("objects/")}
    found = {key: stored.size for key, stored in vault.here("objects/").items()}
    for prefix in sorted(prefixes):
        found |= {key: stored.size for key, stored in vault.here(prefix).items()}
    return found


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
