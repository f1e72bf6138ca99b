"""Pickles under every name are refused by name, and none of them runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from artifacts import plain_data
from artifacts.manifest import Manifest
from contracts import release as files
from contracts.errors import Tampered
from tests.serving import tiny_release


class Payload:
    """When unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return eval, (f"open({str(self.mark)!r}, 'w').close()",)


def objects(mark: Path) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return out.getvalue()


def zipped(mark: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload(mark)))
    return out.getvalue()


PLACES = (
    files.SEQUENCE_PROGRAM, files.WEIGHTS, files.ITEM_VECTORS, files.ITEMS, files.MODEL_CONFIG, "model/data.pkl",
    "model/pytorch_model.bin", "model/weights.pt", "model/joblib", "encoder/model.onnx", "reference/features.parquet",
    "model/run.py",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", [lambda mark: pickle.dumps(Payload(mark)), zipped, objects])
def test_a_pickle_is_refused_by_name_and_not_executed(
    tmp_path: Path, place: str, make: Callable[[Path], bytes]
) -> None:
    bundle, mark = tiny_release.build(tmp_path / "bundle"), tmp_path / "it-ran"
    path = bundle / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make(mark))
    with pytest.raises(Tampered, match=place):
        plain_data.check(Manifest.describe(bundle, kind="release"), bundle)
    assert not mark.exists()


def test_a_sound_bundle_passes(tmp_path: Path) -> None:
    bundle = tiny_release.build(tmp_path / "bundle")
    header = json.dumps({"__metadata__": {}}).encode()
    (bundle / files.WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    plain_data.check(Manifest.describe(bundle, kind="release"), bundle)
