from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import UnreadableFile
from retrieval.encoder import QUERY_MODEL, TextEncoder

pytestmark = pytest.mark.slow  # the encoder is exported first

TEXTS = ["oak desk", "a desk made of oak wood, brown", "", "shower curtain", "名前", "desk " * 500, "oak desk"]


@pytest.fixture(scope="module")
def encoder(encoder_folder: Path) -> TextEncoder:
    return TextEncoder.load(encoder_folder)


def test_vectors_have_unit_length_in_the_order_of_the_texts(encoder: TextEncoder) -> None:
    heard: list[int] = []
    vectors = encoder.encode(TEXTS, batch=2, progress=heard.append)
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert sum(heard) == len(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=1e-5)


def test_like_texts_have_like_vectors(encoder: TextEncoder) -> None:
    desk, wood, _, curtain, *_ = encoder.encode(TEXTS)
    assert desk @ wood > desk @ curtain + 0.3


def test_no_texts_give_no_vectors(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_many_texts_come_in_blocks(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoder.encode(TEXTS)
    monkeypatch.setattr("retrieval.encoder.BLOCK", 3)
    np.testing.assert_allclose(encoder.encode(TEXTS), whole, atol=1e-5)


def test_long_texts_are_cut(encoder_folder: Path) -> None:
    short = TextEncoder.load(encoder_folder, max_length=7)
    np.testing.assert_allclose(*short.encode(["oak desk in the hall " + tail for tail in ("red " * 9, "blue " * 9)]))


def test_the_query_program_agrees_with_the_whole_one(encoder_folder: Path, encoder: TextEncoder) -> None:
    queries = TextEncoder.load(encoder_folder, program=QUERY_MODEL)
    for text in ("oak desk", "12-gauge angle", "shower curtain with blue stripes"):
        assert queries.encode([text])[0] @ encoder.encode([text])[0] > 0.97


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_damaged_folder_is_refused(encoder_folder: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableFile, match="export it again"):
        TextEncoder.load(folder)


def test_a_folder_without_its_dimension_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    (folder / "config.json").write_text(json.dumps({"max_length": 128}))
    with pytest.raises(UnreadableFile):
        TextEncoder.load(folder)
