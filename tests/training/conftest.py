"""A nightly run's surroundings without servers: a store in memory, an MLflow that only remembers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.lake import Lake
from artifacts.object_store import ObjectStore
from artifacts.signature import new_signing_key
from contracts.settings import Settings, read_settings
from tests.fakes import MemoryStore
from tests.training import builders
from training import recipes
from training.data.texts import item_texts
from training.fitting import tracking


@dataclass
class RememberedRun:
    """Stands for training.fitting.tracking.TrackedRun."""

    run_id: str = "run-1"
    logged: dict[str, Any] = field(default_factory=dict)
    curves: list[dict[str, float]] = field(default_factory=list)
    status: str = "RUNNING"

    def parameters(self, values: dict[str, Any]) -> None:
        self.logged |= values

    def metrics(self, values: dict[str, float]) -> None:
        self.logged |= values

    def curve(self, entries: list[dict[str, float]]) -> None:
        self.curves = entries

    def file(self, path: Path, folder: str) -> None:
        self.logged[f"{folder}/{path.name}"] = path.read_text()

    def finish(self, status: str = "FINISHED") -> None:
        self.status = status


@dataclass
class Night:
    """One source, filled with days of events, ready for training.fitting.train."""

    s: Settings
    source: str
    lake: Lake
    store: MemoryStore
    days: list[str]
    run: RememberedRun


class KnownTexts:
    """Encodes the texts of the tests' catalog as the vectors that its lake has of them."""

    def encode(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        known = item_texts(builders.catalog())
        return builders.text_vectors(len(known))[[known.index(text) for text in texts]]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Shared by a module's tests: what was trained once is found again, as on a rerun."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _night(tmp_path_factory.mktemp("night"), monkeypatch)


def _night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    store, run = MemoryStore(), RememberedRun()
    monkeypatch.setattr(ObjectStore, "of", classmethod(lambda *_, **__: store))
    monkeypatch.setattr(tracking.TrackedRun, "start", classmethod(lambda *_, **__: run))
    monkeypatch.setattr(tracking, "resume", lambda *_: run)
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    monkeypatch.setattr("training.models.text.encoder_directory", lambda _: encoder)
    monkeypatch.setattr("training.search_check.TextEncoder.load", lambda *_, **__: KnownTexts())
    # room for texts of the tests' own width, and quick checkpoints
    small = builders.recipe(
        name="small", max_epochs=4, patience=4, learning_rate=0.02, id_dropout=0.2, min_evaluation_examples=10
    )
    monkeypatch.setitem(recipes._RECIPES, "small", lambda: small)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    s = read_settings(home=tmp_path / "home", signing_key=new_signing_key())
    lake = Lake.of(s, "shop")
    days = builders.fill(lake, tmp_path / "lake", builders.events(), builders.catalog())
    return Night(s, "shop", lake, store, days, run)
