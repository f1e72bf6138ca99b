"""An engine that serves a bundle and knows one shopper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.http.parts import Parts
from tests.serving.parts import FakeReader, load, parts_of


@pytest.fixture
def reader() -> FakeReader:
    reader = FakeReader()
    reader.know("anna", ["i-00005", "i-00010", "gone-from-the-catalog"], ["view", "purchase", "view"])
    return reader


@pytest.fixture
def parts(tmp_path: Path, bundle: Path, reader: FakeReader) -> Iterator[Parts]:
    with parts_of(tmp_path, reader=reader) as parts:
        load(parts, bundle)
        yield parts
