"""The exported program of a release."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serving.bundle.release import Release, load_release


def test_a_program_of_fixed_length_gives_the_same_answer(release: Release, tmp_path: Path) -> None:
    from tests.serving.tiny_release import build

    padded = load_release(build(tmp_path, 60, unavailable=(3, 8), padded=20), digest="1" * 64, source="shop")
    history = np.arange(30) % 60
    expected = release.vectors[history[-20:]].mean(axis=0)
    np.testing.assert_allclose(padded.program.query(history), expected, rtol=1e-4, atol=1e-6)
