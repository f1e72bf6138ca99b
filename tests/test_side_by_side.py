"""The runner of all tests runs what failed once more, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import side_by_side
from tests.side_by_side import Part

FAILS_THE_FIRST_TIME = """
from pathlib import Path

import pytest

@pytest.mark.parametrize("name", ["one", "two"])
def test_late(name):
    seen = Path(__file__).with_name(name)
    there = seen.exists()
    seen.touch()
    assert there

def test_fine():
    pass
"""
FAILS = "def test_wrong():\n    assert False\n"
PASSES = "def test_right():\n    pass\n"


def run(folder: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> int:
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a second less for each of these starts
    parts = tuple(Part(title=f"of {name}", select=(name,), nicer=0) for name in files)
    monkeypatch.setattr(side_by_side, "PARTS", parts)
    return side_by_side.main([])


def test_a_second_chance_counts_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"test_a.py": PASSES, "test_b.py": FAILS_THE_FIRST_TIME, "test_c.py": PASSES}
    assert run(tmp_path, files, monkeypatch) == 0
    said = capfd.readouterr().out
    assert said.count("once more, alone:") == 1
    assert "second chances: 2 tests (test_b.py::test_late[one], test_b.py::test_late[two])" in said


def test_what_fails_twice_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"test_a.py": PASSES, "test_b.py": FAILS_THE_FIRST_TIME, "test_c.py": FAILS}
    assert run(tmp_path, files, monkeypatch) == pytest.ExitCode.TESTS_FAILED
    assert "second chances: 3 tests (" in capfd.readouterr().out


def test_where_nothing_fails_nothing_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"test_a.py": PASSES, "test_b.py": PASSES, "test_c.py": PASSES}
    assert run(tmp_path, files, monkeypatch) == 0
    said = capfd.readouterr().out
    assert "once more" not in said
    assert "second chances: 0 tests\n" in said
