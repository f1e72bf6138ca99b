"""Registers a release as a model of MLflow, checks what is registered, and loads it: the one way to load a version.

A version is a folder of files in MLflow, and whoever may write there could make MLflow import another module, or read
a pickle. So no version is loaded before its files were found to be those that Caravan writes, of the release that the
version's tag and the ledger name.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from artifacts.publish import Store, read_file, read_manifest
from artifacts.registry import Registry, Version, model_name
from contracts import release as files
from contracts.errors import ModelRefused, NotFound
from contracts.settings import Settings
from releases.model.card import read_card
from serving.registered import model_files
from serving.registered.model_files import Named

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from artifacts.ledger import Move
    from artifacts.manifest import Manifest

#: The folder of a version that an earlier Caravan registered, which put no files there; of one run, all share it.
FORMER_FOLDER = "release"
#: Items of the example of a question.
EXAMPLE_ITEMS = 3


class Moves(Protocol):
    """The part of the ledger that a check needs."""

    def history(self, source: str | None = None, digest: str | None = None) -> list[Move]: ...


def register(registry: Registry, store: Store, source: str, digest: str, *, tags: dict[str, str]) -> int:
    """Return the version that stands for a published release; make it, a model with its card, unless it is there.

    One that an earlier Caravan made gets its files. Raises ModelRefused for one that somebody else has changed.
    """
    manifest = read_manifest(store, digest)
    found = registry.find(source, digest)
    if found is not None:
        if not registry.files(found):
            write(registry, store, source, found)
        elif registry.folder(found) != FORMER_FOLDER:  # that may be another version's by now; a load finds out
            with tempfile.TemporaryDirectory() as place:
                fetch(registry, source, found, Path(place))
        return found.number
    run_id, folder = str(manifest.meta["run_id"]), model_files.artifact_path(digest)
    _put(registry, store, source, manifest, run_id, folder)  # first: a version never points to files that are missing
    return registry.register(
        source, digest, run_id=run_id, metrics=manifest.meta.get("metrics", {}), tags=tags, folder=folder,
        description=read_card(store, manifest),
    )  # fmt: skip


def write(registry: Registry, store: Store, source: str, version: Version) -> None:
    """Write a version's files and its card again, in place of whatever is there."""
    manifest, folder = read_manifest(store, version.digest), registry.folder(version)
    if registry.files(version):
        registry.remove_files(version)
    _put(registry, store, source, manifest, version.run_id, folder)
    registry.describe(source, version.number, read_card(store, manifest))


def fetch(registry: Registry, source: str, version: Version, to: Path) -> Path:
    """Bring a version's files below `to`, once they are known to be Caravan's and of the digest in its tag."""
    sizes = registry.files(version)
    if not sizes:
        raise ModelRefused(
            f"version {version.number} of {model_name(source)} has no files: an earlier Caravan registered it",
            remedy=f"`caravan release model {version.number} --source {source} --write` makes it a model",
        )
    model_files.refuse_others(sizes)
    folder = registry.download(version, to)
    if (named := model_files.check(folder)) != Named(digest=version.digest, source=source):
        raise model_files.refusal(
            f"its files name release {named.digest[:12]} of {named.source}, version {version.number} of "
            f"{model_name(source)} stands for {version.digest[:12] or 'none'}"
        )
    return folder


def check(registry: Registry, ledger: Moves, source: str, version: Version, to: Path) -> Path:
    """Bring a version's files below `to`, or raise ModelRefused: they must be Caravan's, of a release in the ledger."""
    folder = fetch(registry, source, version, to)
    stands_for = {move.version for move in ledger.history(source, version.digest) if move.version is not None}
    if version.number not in stands_for:
        known = ", ".join(map(str, sorted(stands_for))) or "none"
        raise ModelRefused(
            f"by the ledger {known}, and not version {version.number}, stands for release {version.digest[:12]}",
            remedy="find out who made the version, and delete it in MLflow",
        )
    return folder


def find(registry: Registry, source: str, which: str) -> Version:
    """Find a version by its number, or by an alias. Raises NotFound."""
    if which.isdecimal():
        found = next((v for v in registry.versions(source) if v.number == int(which)), None)
    else:
        found = registry.alias(source, which)
    if found is None:
        raise NotFound(f"{model_name(source)} has no version {which}", remedy="`caravan release list` shows them")
    return found


def load(
    s: Settings, source: str, which: str = "champion", *, registry: Registry | None = None, ledger: Moves | None = None
) -> PyFuncModel:
    """Load the version with this number or alias, checked, as a model of MLflow. Raises ModelRefused."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Any type hint is inferred")  # of MLflow's own, while it is imported
        from mlflow.pyfunc import PyFuncModel
    from mlflow.models import Model

    from artifacts.ledger import Ledger
    from serving.registered import loader

    registry = registry or Registry.of(s)
    version = find(registry, source, which)
    with tempfile.TemporaryDirectory() as place:
        folder = check(registry, ledger or Ledger.of(s), source, version, Path(place))
        return PyFuncModel(model_meta=Model.load(str(folder)), model_impl=loader.load(folder, s))


def _put(registry: Registry, store: Store, source: str, manifest: Manifest, run_id: str, folder: str) -> None:
    """Write the files of a version into MLflow."""
    popular = json.loads(read_file(store, manifest, files.POPULAR) or b"{}").get("all", [])
    with tempfile.TemporaryDirectory() as place:
        named = Named(digest=manifest.digest, source=source)
        model_files.write(Path(place), named, run_id=run_id, history=popular[:EXAMPLE_ITEMS])
        registry.put_files(run_id, Path(place), folder)
