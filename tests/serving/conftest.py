"""Bundles of the tests, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving import tiny_release


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 60 items in five categories; items 3 and 8 can not be had."""
    return tiny_release.build(tmp_path_factory.mktemp("bundle"), 60, unavailable=(3, 8))


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another release of the same catalog."""
    return tiny_release.build(tmp_path_factory.mktemp("other"), 60, seed=1)
