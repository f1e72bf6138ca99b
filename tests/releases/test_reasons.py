"""Reasons in the ledger are made from the figures they speak of; a fixed claim has no way in."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from contracts import release as files
from releases.registration import reason
from tests.conftest import REPOSITORY
from tests.scenarios.made_release import reports

CHAMPION = "cd" * 32
#: Calls that write a row, and which of their arguments is the reason, where it is given by its place.
WRITERS = {"PlannedMove": None, "note": None, "_move": 2, "_back": 1}
#: What may be said in fixed words: that something was done by the row itself. No claim about a release is among them.
EVENTS = {"assembled", "approval requested"}


def decided(champion: str | None, /, **levels: float) -> dict[str, Any]:
    return reports(champion, **levels)[files.GATE]


def test_the_reason_of_the_gate_follows_its_figures() -> None:
    good, worse = (reason(decided(CHAMPION, champion=level)) for level in (0.205, 0.215))
    assert "+3.9%" in good
    assert "-0.9%" in worse
    assert "better than the neighbours of the last item" in good
    assert "worse than the neighbours" in reason(decided(CHAMPION, last_item_neighbours=0.26))
    assert "gainst the champion" not in reason(decided(None))


def _called(call: ast.Call) -> str:
    """The name of a called method, or of a record that is made; a function of a module's own is none."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) and call.func.id == "PlannedMove" else ""


def fixed(path: Path) -> list[str]:
    """Reasons of ledger rows that are written as they stand, with nothing of the release in them."""
    tree = ast.parse(path.read_text())
    names = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for call in ast.walk(tree):
        name = _called(call) if isinstance(call, ast.Call) else ""
        if not isinstance(call, ast.Call) or name not in WRITERS:
            continue
        place = WRITERS[name]
        given = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
        given += [call.args[place]] if place is not None and len(call.args) > place else []
        for value in given:
            text = names.get(value.id) if isinstance(value, ast.Name) else getattr(value, "value", None)
            if isinstance(text, str) and text not in EVENTS:
                found.append(f"{path.relative_to(REPOSITORY)}:{call.lineno}: {text}")
    return found


def test_no_reason_in_the_ledger_is_a_fixed_claim() -> None:
    rooms = ("releases", "recovery", "plugins", "caravan", "monitoring", "training", "dags")
    found = [text for room in rooms for path in (REPOSITORY / room).rglob("*.py") for text in fixed(path)]
    assert found == []


def test_a_fixed_claim_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.releases.test_reasons.REPOSITORY", tmp_path)
    path = tmp_path / "one.py"
    path.write_text(
        'WHY = "better than all"\nm = PlannedMove(to=t, reason=WHY)\nself._back(c, "it is bad", {})\n'
        'ledger.note(s, d, "asked", reason="approval requested")\nm = PlannedMove(to=t, reason=f"{n} fell")\n'
    )
    assert fixed(path) == ["one.py:2: better than all", "one.py:3: it is bad"]
