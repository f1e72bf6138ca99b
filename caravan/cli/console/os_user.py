"""Names the user of this machine, for records of who did something where no sign-in is asked for."""

from __future__ import annotations

import getpass


def os_user() -> str:
    """Return `os user NAME`, cut to 64 characters."""
    try:
        return f"os user {getpass.getuser()[:64]}"
    except (KeyError, OSError):
        return "os user unknown"
