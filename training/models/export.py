"""Exports a trained model as the program and arrays of a release: ONNX and NumPy, no pickle, same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from contracts import release as files
from contracts.errors import TrainingError
from training.jobs import job
from training.models.program import program_of

if TYPE_CHECKING:
    import onnx

    from training.models.ranking import Encode
    from training.models.sequence import SequenceModel

#: Largest difference between the program and the model it was made from.
TOLERANCE = 1e-4


def load_model(folder: Path, text: npt.NDArray[np.float32] | None) -> SequenceModel:
    """Load the trained model in `folder` (weights.safetensors, config.json), in evaluation mode."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from training.models.sequence import SequenceConfig, SequenceModel

    try:
        config = SequenceConfig(**json.loads((folder / job.CONFIG).read_text()))
        touched = torch.ones(config.items, dtype=torch.bool)  # matters for initialization only
        model = SequenceModel(config, touched, torch.from_numpy(text) if config.text_dim and text is not None else None)
        model.load_state_dict(load_file(folder / job.WEIGHTS))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainingError(f"the model in {folder} cannot be read: {error}", remedy="train it again") from error
    if config.text_dim and text is None:
        raise TrainingError(f"the model in {folder} needs the text vectors of its items", remedy="train it again")
    return model.eval()


def export(model: SequenceModel, out: Path) -> None:
    """Write the sequence program and the item vectors into the bundle directory `out`, and check them."""
    import torch

    (out / files.SEQUENCE_PROGRAM).parent.mkdir(parents=True, exist_ok=True)
    (out / files.ITEM_VECTORS).parent.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        vectors = model.all_item_vectors().numpy()
    if not np.isfinite(vectors).all():
        raise TrainingError("the item vectors are not all numbers", remedy="train again; see its curve")
    np.save(out / files.ITEM_VECTORS, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
    (out / files.SEQUENCE_PROGRAM).write_bytes(_program(model).SerializeToString(deterministic=True))
    _compare(model, out / files.SEQUENCE_PROGRAM)


def encoder(path: Path, threads: int = 0) -> Encode:
    """Open the program at `path` in ONNX Runtime: (items [B, L], lengths [B]) -> queries float32 [B, D]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])

    def encode(items: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        (query,) = session.run(["query"], {"items": items, "lengths": lengths})
        return np.asarray(query, dtype=np.float32)

    return encode


def _program(model: SequenceModel) -> onnx.ModelProto:
    """Export the part of the model that makes a query of a history, with free batch and length."""
    import torch

    from training.models.sequence import LastQuery

    items = torch.ones((2, min(3, model.config.max_length)), dtype=torch.int64)
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)
    return program_of(
        LastQuery(model).eval(),
        (items, torch.tensor([2, 1])),
        dynamic_shapes=({0: batch, 1: length}, {0: batch}),
        inputs=["items", "lengths"],
        outputs=["query"],
    )


def _compare(model: SequenceModel, path: Path) -> None:
    """Raise TrainingError unless the program answers as the model does, for one item up to a full history."""
    import torch

    from training.models.sequence import LastQuery

    last = LastQuery(model).eval()
    run = encoder(path, threads=1)
    draw = np.random.default_rng(0)
    for rows, width in ((1, 1), (3, 2), (4, model.config.max_length)):
        lengths = draw.integers(1, width + 1, size=rows)
        items = draw.integers(1, model.config.items + 1, size=(rows, width))
        items[np.arange(width)[None, :] >= lengths[:, None]] = 0
        with torch.inference_mode():
            expected = last(torch.from_numpy(items), torch.from_numpy(lengths)).numpy()
        worst = float(np.abs(run(items, lengths) - expected).max())
        if not worst < TOLERANCE * max(1.0, float(np.abs(expected).max())):  # NaN included
            raise TrainingError(f"the program differs from the model by {worst:.1e}", remedy="install the pins")
