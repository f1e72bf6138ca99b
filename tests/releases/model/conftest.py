"""A registry of MLflow's own on SQLite and files, a store in memory, and a release that was published and signed."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from artifacts.object_store import ObjectStore
from artifacts.publish import publish
from artifacts.registry import Registry, Version
from artifacts.signature import new_signing_key, sign
from contracts.settings import Settings, read_settings
from releases.model import registered
from tests.fakes import MemoryStore
from tests.serving import tiny_release

SOURCE = "shop"


@dataclass
class Shop:
    """What registering and loading need, without servers; also stands for the ledger."""

    s: Settings
    store: MemoryStore
    client: MlflowClient
    folder: Path
    known: dict[str, list[int]] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        return Registry(self.client)

    def history(self, source: str | None = None, digest: str | None = None) -> list[Any]:
        assert source == SOURCE
        return [SimpleNamespace(version=number) for number in self.known.get(digest or "", [])]

    def publish(self, *, seed: int = 0, source: str = SOURCE, signed: bool = True) -> str:
        bundle = tiny_release.build(self.folder / f"bundle-{seed}", 60, seed=seed)
        experiment = self.client.get_experiment_by_name(SOURCE)
        identifier = experiment.experiment_id if experiment else self.client.create_experiment(
            SOURCE, artifact_location=(self.folder / "artifacts").as_uri()
        )  # fmt: skip
        meta = {
            "source": source, "day": "2026-01-05", "recipe": "default", "metrics": {"ndcg_at_10": 0.2},
            "run_id": self.client.create_run(identifier).info.run_id,
        }  # fmt: skip
        digest = publish(self.store, bundle, kind="release", meta=meta).digest
        if signed:
            sign(self.store, digest, self.s)
        return digest

    def register(self, digest: str) -> Version:
        number = registered.register(self.registry, self.store, SOURCE, digest, tags={"caravan.day": "2026-01-05"})
        self.known.setdefault(digest, []).append(number)
        self.registry.set_alias(SOURCE, "champion", number)
        return registered.find(self.registry, SOURCE, str(number))

    def files_of(self, version: Version) -> Path:
        """The folder of a version on disk, where somebody with MLflow's storage can write."""
        return Path(version.uri.removeprefix("file://"))

    def load(self, which: str = "champion") -> Any:
        return registered.load(self.s, SOURCE, which, registry=self.registry, ledger=self)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the tables of MLflow's database once; that takes seconds. What MLflow warns of itself is not ours."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("mlflow.pyfunc.scoring_server")
        MlflowClient(f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def shop(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    before, database = mlflow.get_tracking_uri(), tmp_path / "mlflow.db"
    shutil.copyfile(empty_database, database)
    address = f"sqlite:///{database}"
    store = MemoryStore()
    s = read_settings(home=tmp_path / "home", signing_key=new_signing_key())
    monkeypatch.setattr(ObjectStore, "of", classmethod(lambda *_, **__: store))
    monkeypatch.setattr("serving.registered.loader.settings", lambda: s)  # what a process reads from its environment
    mlflow.set_tracking_uri(address)
    yield Shop(s, store, MlflowClient(address), tmp_path)
    mlflow.set_tracking_uri(before)
