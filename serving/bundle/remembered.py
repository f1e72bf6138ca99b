"""Remembers what an engine used last, for a start without the object store: its manifest, and the signature of it.

Both lie on a disk that others of the machine write to, so what is remembered is trusted no more than what is fetched:
the signature is verified again by the keys that are trusted now, and every file by the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from artifacts import plain_data
from artifacts.files import atomic_write
from artifacts.manifest import Manifest
from artifacts.publish import Store, manifest_key
from artifacts.signature import signature_key
from contracts.errors import NotFound, Tampered


class _OnDisk:
    """The two objects of a store that are needed to trust a manifest."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def get(self, key: str) -> bytes:
        if key not in self._objects:
            raise NotFound(f"{key} is not remembered", remedy="it is fetched when the object store answers")
        return self._objects[key]


class Memory:
    """What is remembered at `path` (the manifest) and beside it (the signature); the files lie below `cache`.

    `trust` raises Tampered for a digest that no trusted key signed.
    """

    def __init__(self, path: Path, cache: Path, trust: Callable[[Store, str], None]) -> None:
        self._path = path
        self._signature = path.with_name(f"{path.name}.signature")
        self._cache = cache
        self._trust = trust

    def write(self, store: Store, manifest: Manifest) -> None:
        """Remember a manifest that was fetched from `store`, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._signature.unlink(missing_ok=True)  # one without the other is trusted by nobody
        atomic_write(self._path, manifest.to_bytes())
        with suppress(NotFound):
            atomic_write(self._signature, store.get(signature_key(manifest.digest)))

    def read(self) -> tuple[Manifest, Path] | None:
        """Return what is remembered and the folder of its files; None where nothing is.

        Raises Tampered for what no trusted key signed, or is not what was signed, and OSError.
        """
        if not self._path.exists():
            return None
        try:
            manifest = Manifest.from_bytes(self._path.read_bytes())
        except ValueError:
            raise Tampered(f"{self._path.name} cannot be read", remedy="it is written again from the store") from None
        objects = {manifest_key(manifest.digest): manifest.to_bytes()}
        if self._signature.is_file():
            objects[signature_key(manifest.digest)] = self._signature.read_bytes()
        self._trust(_OnDisk(objects), manifest.digest)  # type: ignore[arg-type]
        directory = self._cache / manifest.digest
        if not directory.is_dir():
            return None
        manifest.verify(directory)
        plain_data.check(manifest, directory)
        return manifest, directory

    def forget(self) -> None:
        """Remember nothing."""
        self._path.unlink(missing_ok=True)
        self._signature.unlink(missing_ok=True)
