"""Keeps small facts in a file that others read while it is written: a JSON object, replaced in one step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from artifacts.files import atomic_write


def write(path: Path, facts: dict[str, Any]) -> None:
    """Replace the facts; a reader sees the former ones or these, never a part of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(facts, indent=1))


def read(path: Path) -> dict[str, Any] | None:
    """Read the facts; None where there are none, or where they cannot be understood."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
