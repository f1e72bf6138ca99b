"""Plain present-day English, in what people read and in the code: the worst phrases stay out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: A phrase, and what to write instead.
PHRASES = {
    "can not": "cannot",
    "anew": "again",
    "of ours": "our",
    "but for": "except",
    "goes over again": "is uploaded again",
    "on its way": "in progress",
    "by lot": "at random",
    "lay out": "unpack",
    "homes of before": "older homes",
}
#: Told once, and not changed later.
LEFT = ("docs/adr/", "docs/experiments.md", "tests/test_english.py")
LONGEST_LINE = 120


def texts() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [ROOT / name for name in names if not name.startswith(LEFT) and (ROOT / name).exists()]


@pytest.mark.parametrize("phrase", PHRASES)
def test_nobody_has_to_read_this(phrase: str) -> None:
    pattern = re.compile(rf"\b{phrase}\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == [], f"write {PHRASES[phrase]!r}"


@pytest.mark.parametrize("path", [p for p in texts() if p.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_document_can_be_reviewed_line_by_line(path: Path) -> None:
    """Tables and addresses cannot be broken; a paragraph can."""
    long, code = [], False
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        code ^= line.lstrip().startswith("```")
        if len(line) > LONGEST_LINE and not code and not line.lstrip().startswith(("|", "![")) and " " in line[5:]:
            long.append(number)
    assert long == []
