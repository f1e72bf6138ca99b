"""A digest names content and nothing else, and nothing gets past it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.manifest import FileEntry, Manifest, checked
from contracts.errors import ArtifactError, Tampered


def directory(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    (root / "model").mkdir(parents=True)
    (root / "model" / "weights").write_bytes(b"weights")
    (root / "items.json").write_text("[1, 2]")
    return root


names = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=12).filter(
    lambda n: n not in (".", "..")
)
entries = st.lists(
    st.builds(
        FileEntry, path=names, size=st.integers(0, 2**40), sha256=st.text("0123456789abcdef", min_size=64, max_size=64)
    ),
    max_size=6,
    unique_by=lambda e: e.path,
).map(tuple)
meta = st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=8), st.integers(), st.booleans()), max_size=4)


@given(entries, meta)
def test_a_manifest_survives_the_journey(files: tuple[FileEntry, ...], about: dict[str, object]) -> None:
    manifest = Manifest(kind="release", files=files, meta=about)
    assert Manifest.from_bytes(manifest.to_bytes()).digest == manifest.digest


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_crashes(data: bytes) -> None:
    with pytest.raises(Tampered):
        Manifest.from_bytes(data)


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "a//b", "", "a\\b", "./a", "a/\0"])
def test_a_path_never_leaves_its_directory(path: str) -> None:
    with pytest.raises(Tampered):
        checked(path)


def test_every_change_is_found_and_named(tmp_path: Path) -> None:
    root = directory(tmp_path)
    manifest = Manifest.describe(root, kind="release")
    manifest.verify(root)
    (root / "model" / "weights").write_bytes(b"weighty")
    with pytest.raises(Tampered, match="model/weights"):
        manifest.verify(root)
    (root / "model" / "weights").write_bytes(b"weights")
    (root / "extra").write_text("x")
    with pytest.raises(Tampered, match="extra"):
        manifest.verify(root)
    (root / "extra").unlink()
    (root / "items.json").unlink()
    with pytest.raises(Tampered, match=r"items\.json"):
        manifest.verify(root)


def test_a_link_is_refused(tmp_path: Path) -> None:
    root = directory(tmp_path)
    (root / "link").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match="link"):
        Manifest.describe(root, kind="release")
