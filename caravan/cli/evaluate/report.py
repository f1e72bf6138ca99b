"""Checks that a command can write its report, before the work and not after it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from contracts.errors import SettingsError


def demand_writable(path: Path) -> None:
    """Raise SettingsError unless a report can be written to `path`; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = os.path.lexists(path)  # a link whose target is not there yet stays
        with path.open("a"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}", remedy="name a file in a folder of yours"
        ) from None


def write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
