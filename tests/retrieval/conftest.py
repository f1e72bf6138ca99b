"""The exported sentence encoder, made once for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.settings import read_settings


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.models.text import encoder_directory

    return encoder_directory(read_settings(home=tmp_path_factory.mktemp("home")))
