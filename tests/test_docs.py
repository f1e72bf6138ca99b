"""What the documents point at exists, and every command they show is one that `caravan` or `make` knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from tests.test_architecture import FLOOR_FOLDERS, FLOORS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name} points at {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_exist(document: Path) -> None:
    from caravan.cli.main import app

    commands = get_command(app)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    text = document.read_text()
    for target in re.findall(r"`make ([a-z-]+)", text) + re.findall(r"^make ([a-z-]+)", text, re.M):
        assert target in targets, f"{document.name} shows make {target}"
    for words in re.findall(r"(?:^|`)caravan ((?:[a-z-]+ ?)+)", text, re.M):
        group = commands
        for word in words.split():
            known = getattr(group, "commands", None)
            if known is None:
                break
            assert word in known, f"{document.name} shows caravan {words}"
            group = known[word]


def test_where_is_what_names_what_is_there() -> None:
    text = (ROOT / "docs" / "where.md").read_text()
    found = re.findall(r"`([a-z_/]+\.(?:py|yaml))`:\s+(\w+)", text)
    assert len(found) >= 30
    assert [(path, name) for path, name in found if not re.search(rf"\b{name}\b", (ROOT / path).read_text())] == []


def test_every_floor_is_a_word_of_the_glossary() -> None:
    """And every place that the glossary names is there."""
    text = (ROOT / "docs" / "glossary.md").read_text()
    named = {place.rstrip("/") for place in re.findall(r"`([a-z_/]+(?:\.py|/))`", text)}
    assert [place for place in named if not (ROOT / place).exists()] == []
    folders = [FLOOR_FOLDERS[room] / name for room in FLOORS for floor in FLOORS[room] for name in floor]
    assert {str(folder.relative_to(ROOT)) for folder in folders if folder.is_dir()} <= named


def test_the_floors_shown_are_those_that_hold() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    shown = re.findall(r"^\| `([\w/]+)/` \| (.* → .*) \|$", text, re.MULTILINE)
    floors = {room: [set(floor.strip("()").split(", ")) for floor in row.split(" → ")] for room, row in shown}
    folders = {room: str(folder.relative_to(ROOT)) for room, folder in FLOOR_FOLDERS.items()}
    assert floors == {folders[room]: [floor for floor in FLOORS[room] if floor != {"__main__"}] for room in FLOORS}


def test_the_walks_name_every_file_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    text = text[text.index("## Three walks") : text.index("## The data's way")]
    walks = text.split("\n**")[1:]
    assert len(walks) == 3
    for walk in walks:
        files = re.findall(r"`([a-z_/]+\.py)`", walk)
        assert [file for file in files if not (ROOT / file).exists()] == []
        assert len(files) == len(set(files)), "a walk comes back to a file"


def test_the_map_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text()
    for folder in ROOT.iterdir():
        if (folder / "__init__.py").exists():
            assert f"`{folder.name}/`" in readme, folder.name


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of one machine in anything that is committed."""
    import subprocess

    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    home = re.compile(r"/(?:root|home/[a-z]+)/")
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".cfg"} and path.exists():
            assert not home.search(path.read_text()), name
