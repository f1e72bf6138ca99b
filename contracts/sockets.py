"""Places a stack's unix sockets: the file system guards what listens there, and no password is needed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

#: A unix socket's path may have 107 bytes; a server may first bind a name that is longer by its pid.
LONGEST_PATH = 90
#: Before the path, in an address.
SCHEME = "unix:"


def socket_path(home: Path, name: str) -> Path:
    """Return the path of socket `name` (relative): in the stack's home, or in `short_folder` if that is too long."""
    inside = home.absolute() / name
    if len(os.fsencode(inside)) <= LONGEST_PATH:
        return inside
    return short_folder(home) / name.replace("/", "-")


def short_folder(home: Path) -> Path:
    """Name the folder for the sockets of a home with a long path; `make_short_folder` makes it ours alone."""
    name = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"caravan-{os.getuid()}-{name}"


def make_short_folder(home: Path) -> None:
    """Make that folder, 0700. Raises PermissionError if another user has taken its name."""
    folder = short_folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if folder.is_symlink() or about.st_uid != os.getuid():
        raise PermissionError(1, "it belongs to another user", str(folder))
    folder.chmod(0o700)
