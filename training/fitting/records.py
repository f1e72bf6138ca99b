"""Carries what a training process tells its starter: typed records, one line of JSON each.

People read sentences, and a sentence may be reworded; the starter (training.fitting.launch) reads records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from contracts.errors import CaravanError, TakenOver, TrainingError
from training.jobs.job import VALIDATION


@dataclass(frozen=True, kw_only=True)
class EpochEnded:
    """A new point of the curve. `epoch` counts from 1, `seconds` are those spent training so far."""

    KIND: ClassVar[str] = "epoch"

    epoch: int
    seconds: float
    loss: float
    validation_ndcg: float

    @classmethod
    def of(cls, entry: Mapping[str, float]) -> EpochEnded:
        """Make the record of an entry of the curve (training.jobs.checkpoint.Progress)."""
        return cls(
            epoch=int(entry["epoch"]) + 1, seconds=entry["seconds"], loss=entry["loss"],
            validation_ndcg=entry[VALIDATION],
        )  # fmt: skip

    def to_json(self) -> str:
        return _line(self.KIND, asdict(self))

    @classmethod
    def from_json(cls, line: str) -> EpochEnded | None:
        """Read a line of the process's output; None where it is not this record."""
        values = _values(cls.KIND, line)
        return None if values is None else cls(**values)

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} ended after {self.seconds:.0f} s: loss {self.loss:.4f}, "
            f"validation NDCG@10 {self.validation_ndcg:.4f}"
        )


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error that ended the process: the name of its class, what happened, and the remedy."""

    KIND: ClassVar[str] = "failure"

    error: str
    what: str
    remedy: str

    @classmethod
    def of(cls, error: CaravanError) -> Failure:
        return cls(error=type(error).__name__, what=error.what, remedy=error.remedy)

    def to_json(self) -> str:
        return _line(self.KIND, asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Failure | None:
        values = _values(cls.KIND, line)
        return None if values is None else cls(**values)

    def to_error(self) -> TrainingError:
        """Make the error again: TakenOver stays one, every other class becomes a TrainingError."""
        kind = TakenOver if self.error == TakenOver.__name__ else TrainingError
        return kind(self.what, remedy=self.remedy)


def failure_file(folder: Path, attempt: str) -> Path:
    """Return where one start of the trainer leaves its Failure, in the folder of its job.

    In a file, because the output of a process may go straight to a terminal, where its starter cannot read it.
    """
    return folder / f"error-{attempt}.txt"


def _line(kind: str, values: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, **values})


def _values(kind: str, line: str) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or values.pop("kind", None) != kind:
        return None
    return values
