"""ruff and mypy are part of the tests, so that one command says whether a change may land."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--output-format", "concise", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
    ],
    ids=["lint", "format", "types"],
)
def test_the_code_is_clean(command: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_pins_are_exact_and_agree() -> None:
    pins = {
        name: dict(line.split(";")[0].strip().split("==") for line in (ROOT / name).read_text().splitlines() if line)
        for name in ("requirements.txt", "requirements-dev.txt")
    }
    run, dev = pins["requirements.txt"], pins["requirements-dev.txt"]
    assert {k: dev[k] for k in run} == run


def test_test_files_have_one_subject() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "tests").rglob("*.py")}
    long = {name: n for name, path in files.items() if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}, "files of tests over 400 lines usually hide two subjects"
