"""One edge for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving.edge.running_edge import Edge


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    it = Edge(tmp_path_factory.mktemp("edge"))
    yield it
    it.close()
