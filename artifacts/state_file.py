"""Small facts in a file that others read while it is written: a JSON object, replaced in one step."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write(path: Path, facts: dict[str, Any]) -> None:
    """A reader sees the former facts or these, never a part of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(facts, indent=1))
    part.replace(path)


def read(path: Path) -> dict[str, Any] | None:
    """The facts; None where there are none, or where they cannot be understood."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
