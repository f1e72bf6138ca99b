"""Stages feature partitions as local files under the names that Feast's file sources point at."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from artifacts.lake import DATA, Lake
from contracts.settings import Settings


def staging_folder(s: Settings, source: str) -> Path:
    """Return the folder in which `source`'s feature tables are staged: <folder>/<table>/<day>.parquet."""
    return s.cache / "features" / source


def stage(lake: Lake, folder: Path, table: str, first: str, last: str) -> list[Path]:
    """Make `folder`/`table` hold exactly the lake's partitions from `first` to `last`, as far as that range goes.

    Files are hard links to verified copies and appear by rename, so that another process reads whole files only.
    """
    target = folder / table
    target.mkdir(parents=True, exist_ok=True)
    days = [d for d in lake.partitions(table) if first <= d <= last]
    for staged in target.glob("*.parquet"):
        if first <= staged.stem <= last and staged.stem not in days:
            staged.unlink(missing_ok=True)
    return [_link(lake.fetch(table, day) / DATA, target / f"{day}.parquet") for day in days]


def _link(file: Path, staged: Path) -> Path:
    if staged.exists() and staged.samefile(file):
        return staged
    with tempfile.TemporaryDirectory(dir=staged.parent.parent, prefix=".staging-") as scratch:
        fresh = Path(scratch) / staged.name
        try:
            os.link(file, fresh)
        except OSError:  # another file system
            shutil.copyfile(file, fresh)
        fresh.replace(staged)
    return staged
