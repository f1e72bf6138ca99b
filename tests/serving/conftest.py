"""Builds the tests' bundles once, and opens the application over HTTP, around the `parts` of each module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from serving.bundle.release import Release, load_release
from serving.http.parts import Parts
from tests.serving import tiny_release
from tests.serving.parts import client


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a bundle of 60 items in five categories; items 3 and 8 cannot be had."""
    return tiny_release.build(tmp_path_factory.mktemp("bundle"), 60, unavailable=(3, 8))


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build another release of the same catalog."""
    return tiny_release.build(tmp_path_factory.mktemp("other"), 60, seed=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def http(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    async with client(parts) as http:
        yield http


@pytest.fixture(scope="session")
def release(bundle: Path) -> Release:
    """Load the first bundle into memory."""
    return load_release(bundle, digest="0" * 64, source="shop")


@pytest.fixture(scope="session")
def ranked_release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Load a release with sources and a ranker."""
    folder = tiny_release.build(tmp_path_factory.mktemp("ranked"), 60, unavailable=(3, 8), ranker=True)
    return load_release(folder, digest="1" * 64, source="shop")
