"""Makes the folders of a stack: only its owner can look into them or read a file.

Shoppers' data are in files of many programs (Redis, the object store, logs). New ones are private by the umask of the
supervisor and of the commands; those that an earlier version made are closed at the next `up`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from caravan.stack.services import postgres
from caravan.stack.supervision import supervisor
from contracts.errors import StackError
from contracts.settings import Settings
from contracts.sockets import make_short_folder, socket_path

#: What supervisor would not take as a part of a path.
_BENT = re.compile(r"[\[\]*?%]|\s[;#]")


def make(s: Settings, regions: Sequence[str]) -> None:
    """Make the folders of a stack, for its owner only. Raises StackError where that is not possible."""
    if _BENT.search(str(s.home)):
        raise StackError(
            f"the path {s.home} holds what supervisor reads as a pattern or a comment: [ ] * ? % ' ;' or ' #'",
            remedy="set CARAVAN_HOME to a path without these",
        )
    try:
        _make(s, regions)
    except OSError as error:
        raise StackError(
            f"{error.filename or s.home} cannot be made: {error.strerror}",
            remedy="set CARAVAN_HOME to a folder of yours",
        ) from None


def _make(s: Settings, regions: Sequence[str]) -> None:
    if shutil.disk_usage(next(p for p in (s.home, *s.home.parents) if p.exists())).free < 1 << 30:
        raise StackError(f"less than 1 GB is free at {s.home}", remedy="make room, or set CARAVAN_HOME elsewhere")
    if s.home.exists() and stat.S_IMODE(s.home.stat().st_mode) & 0o007:
        _close(s.home)
    for folder in (s.home, s.home / "control", s.home / "regions", *(s.home / "regions" / r for r in regions)):
        _passage(folder)
    if _needs_short_folder(s):
        make_short_folder(s.home)
    for folder in (s.home / "logs", supervisor.run_folder(s)):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)


def _needs_short_folder(s: Settings) -> bool:
    longest = "regions/standby/edge-admin.sock"
    return socket_path(s.home, longest) != s.home.absolute() / longest


def _passage(folder: Path) -> None:
    """Make a folder for its owner; PostgreSQL's user, where that is another one, passes through and does not look."""
    folder.mkdir(parents=True, exist_ok=True)
    server = postgres.server_user(folder / "postgres" / "data")
    if server is not None:
        os.chown(folder, -1, server.pw_gid)
    folder.chmod(0o700 if server is None else 0o710)


def _close(home: Path) -> None:
    """Take from others what an earlier version left open to them. PostgreSQL's own folders are closed already."""
    for folder, names, files in os.walk(home):
        names[:] = [name for name in names if name != "postgres"]
        for name in (*names, *files):
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                if not path.is_symlink():
                    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o077)
    home.chmod(0o700)
