"""The folders of a stack."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

from caravan.stack import supervisor
from contracts.errors import StackError
from contracts.settings import Settings

#: What supervisor would not take as a part of a path.
_BENT = re.compile(r"[\[\]*?%]|\s[;#]")


def make(s: Settings, regions: Sequence[str]) -> None:
    """The folders of a stack, for its owner only. Raises StackError where they can not be, with what to do."""
    if _BENT.search(str(s.home)):
        raise StackError(
            f"the path {s.home} holds what supervisor reads as a pattern or a comment: [ ] * ? % ' ;' or ' #'",
            remedy="set CARAVAN_HOME to a path without these",
        )
    try:
        _make(s, regions)
    except OSError as error:
        raise StackError(
            f"{error.filename or s.home} can not be made: {error.strerror}",
            remedy="set CARAVAN_HOME to a folder of yours",
        ) from None


def _make(s: Settings, regions: Sequence[str]) -> None:
    if shutil.disk_usage(next(p for p in (s.home, *s.home.parents) if p.exists())).free < 1 << 30:
        raise StackError(f"less than 1 GB is free at {s.home}", remedy="make room, or set CARAVAN_HOME elsewhere")
    # PostgreSQL may run as another user, who passes through these folders but may not look around
    for folder in (s.home, s.home / "control", s.home / "regions", *(s.home / "regions" / r for r in regions)):
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o711)
    for folder in (s.home / "logs", supervisor.run_folder(s)):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
