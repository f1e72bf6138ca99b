"""Carries what a training process tells its starter: records of epochs, one line of JSON each, and where its error is.

People read sentences, and a sentence may be reworded; the starter (training.fitting.launch) reads records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

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
        return json.dumps({"kind": self.KIND, **asdict(self)})

    @classmethod
    def from_json(cls, line: str) -> EpochEnded | None:
        """Read a line of the process's output; None where it is not this record."""
        try:
            values = json.loads(line)
        except ValueError:
            return None
        if not isinstance(values, dict) or values.pop("kind", None) != cls.KIND:
            return None
        return cls(**values)

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} ended after {self.seconds:.0f} s: loss {self.loss:.4f}, "
            f"validation NDCG@10 {self.validation_ndcg:.4f}"
        )


def failure_file(folder: Path, attempt: str) -> Path:
    """Return where one start of the trainer leaves its ErrorRecord, in the folder of its job.

    In a file, because the output of a process may go straight to a terminal, where its starter cannot read it.
    """
    return folder / f"error-{attempt}.txt"
