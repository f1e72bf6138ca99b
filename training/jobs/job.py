"""Writes and reads a training job: a folder with everything the child process needs, and later all it has made.

job.json                 recipe, key, and the paths below, all relative
data.safetensors         sequences, validation questions, text vectors, weights to start from
checkpoint.safetensors   while it runs (see training.jobs.checkpoint)
curve.json               one entry per finished epoch, for the process that follows the run
result/                  weights.safetensors, config.json, curve.json, metrics.json: written last
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from contracts.errors import TrainingError
from contracts.release import HEADLINE
from training.recipes import Recipe

if TYPE_CHECKING:
    from training.data.training_data import TrainingData

JOB = "job.json"
DATA = "data.safetensors"
CURVE = "curve.json"
RESULT = "result"
WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
METRICS = "metrics.json"
#: The headline over the validation questions: a field of METRICS and of every entry of CURVE.
VALIDATION = f"validation_{HEADLINE}"
#: Prefix of the weights to start from, in data.safetensors.
START = "start/"


def to_json(value: Any) -> bytes:
    """Return JSON bytes, the same for the same value, readable by a person. Raises ValueError on NaN."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_job(folder: Path, recipe: Recipe, data: TrainingData, *, key: str) -> Path:
    """Write a job into `folder` and return the path of its job.json; the same job again changes nothing."""
    from safetensors.numpy import save as to_bytes

    from training.jobs import checkpoint

    path = folder / JOB
    if path.exists() and json.loads(path.read_text()).get("key") == key:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[Any]] = {
        "items": data.items,
        "offsets": data.offsets,
        "validation/items": data.validation.items,
        "validation/starts": data.validation.starts,
        "validation/stops": data.validation.stops,
        "validation/targets": data.validation.targets,
    }
    if data.firsts is not None:
        arrays["firsts"] = data.firsts
    if data.text is not None and recipe.text:
        arrays["text"] = data.text
    arrays |= {START + name: array for name, array in data.start.items()}
    checkpoint.write_file(folder / DATA, to_bytes({name: array.copy() for name, array in arrays.items()}))
    about = {
        "key": key, "recipe": recipe.to_dict(), "item_count": data.item_count, "exclude_seen": data.exclude_seen,
    }  # fmt: skip
    checkpoint.write_file(path, to_json(about))
    return path


def read_job(path: Path) -> tuple[Recipe, TrainingData, str]:
    """Read (recipe, data, key) of the job at `path`. Raises TrainingError when it is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from training.data.datasets import Examples
    from training.data.training_data import TrainingData

    try:
        about = json.loads(path.read_text())
        arrays = load_file(path.parent / DATA)
        validation = Examples(*(arrays[f"validation/{name}"] for name in ("items", "starts", "stops", "targets")))
        data = TrainingData(
            item_count=int(about["item_count"]), items=arrays["items"], offsets=arrays["offsets"],
            validation=validation, exclude_seen=bool(about["exclude_seen"]), text=arrays.get("text"),
            firsts=arrays.get("firsts"),
            start={name.removeprefix(START): a for name, a in arrays.items() if name.startswith(START)},
        )  # fmt: skip
        return Recipe.from_dict(about["recipe"]), data, str(about["key"])
    except (OSError, KeyError, ValueError, TypeError, SafetensorError) as error:
        raise TrainingError(f"the job {path} cannot be read: {error}", remedy="delete its folder and retry") from error
