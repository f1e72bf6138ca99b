"""A run that stops anywhere goes on as if it had not, from one file that is whole or absent, and never a pickle."""

from __future__ import annotations

import itertools
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from contracts.errors import TrainingError
from tests.training import builders
from training.fitting.loop import Trainer
from training.jobs import checkpoint
from training.jobs.checkpoint import Progress


class Stopped(Exception):
    pass


def run(folder: Path, stop_at: int | None = None, **changes: Any) -> Trainer:
    trainer = builders.trainer(folder, checkpoint_seconds=0.0, dropout=0.2, batch_tokens=100, **changes)

    def report(progress: Progress, *_: object) -> None:
        if progress.step == stop_at:
            raise Stopped

    trainer.fit(report)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"full_softmax_items": 5, "negatives": 20}], ids=["full", "sampled"])
def test_a_stopped_run_ends_with_the_very_same_weights(tmp_path: Path, changes: dict[str, Any]) -> None:
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = run(tmp_path / "whole", **changes)
    for stop in (1, 3, whole.progress.step // 2 + 1, whole.progress.step):
        with pytest.raises(Stopped):
            run(tmp_path / "stopped", stop, **changes)
    resumed = run(tmp_path / "stopped", **changes)
    assert resumed.progress.step == whole.progress.step
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    drop = {"seconds"}
    assert [{k: v for k, v in e.items() if k not in drop} for e in whole.progress.curve] == [
        {k: v for k, v in e.items() if k not in drop} for e in resumed.progress.curve
    ]


@pytest.mark.slow
def test_a_machine_of_any_speed_makes_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock of the second run is an hour after the one before."""
    for name in ("quick", "slow"):
        (tmp_path / name).mkdir()
    quick = run(tmp_path / "quick")
    hours = itertools.count(step=3600)
    monkeypatch.setattr("training.fitting.loop.time.monotonic", lambda: float(next(hours)))
    slow = run(tmp_path / "slow")
    assert slow.progress.seconds > 3600 > quick.progress.seconds
    assert slow.progress.step == quick.progress.step == quick.steps
    for name, value in quick.best.items():
        assert torch.equal(value, slow.best[name]), name


@pytest.mark.slow
def test_the_weights_at_the_end_are_kept_unless_they_overfit(tmp_path: Path) -> None:
    trainer = run(tmp_path)
    last = trainer.progress.epoch - 1
    assert trainer.progress.best_epoch == last
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, trainer.best[name]), name


@pytest.mark.slow
def test_overfitting_beyond_chance_ends_training_with_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    figures = iter([0.2, 0.4, 0.39, 0.2, 0.2, 0.2])
    monkeypatch.setattr("training.fitting.loop.validation_ndcg", lambda *_: next(figures) + draw.normal(0, 0.05, 200))
    trainer = run(tmp_path, max_epochs=6, patience=2)
    assert trainer.progress.best_epoch == 1  # 0.39 is within chance of 0.4
    assert trainer.progress.epoch == 5  # two epochs that are clearly worse


@pytest.mark.slow
def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.write_file(path, b"old")
    script = (
        "import resource, signal, sys; from pathlib import Path; from training.jobs import checkpoint;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "checkpoint.write_file(Path(sys.argv[1]), b'new' * 10_000)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "could not write" in ended.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_checkpoint_of_other_inputs_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, 2)
    assert checkpoint.load(tmp_path / "checkpoint.safetensors", key="k") is not None
    assert checkpoint.load(tmp_path / "checkpoint.safetensors", key="other") is None


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("payload", ["pickle", "torch", "garbage", "cut"])
def test_nothing_but_safetensors_is_read_and_nothing_is_run(
    tmp_path: Path, payload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    if payload == "cut":
        with pytest.raises(Stopped):
            run(tmp_path, 2)
        path.write_bytes(path.read_bytes()[:-100])
    elif payload == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif payload == "torch":
        torch.save(Bomb(), path)
    else:
        path.write_bytes(os.urandom(500))
    with pytest.raises(TrainingError, match="damaged"):
        builders.trainer(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_nan_ends_training_with_a_reason(tmp_path: Path) -> None:
    values = builders.data(text=True)
    assert values.text is not None
    values.text[3] = float("nan")
    with pytest.raises(TrainingError, match="not a number"):
        builders.trainer(tmp_path, values).fit(lambda *_: None)
