"""A running region for fault subjects that are not given one; who runs them closes it."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from contracts.settings import Settings, read_settings
from tests.conftest import free_offset

_ours: list[Settings] = []


@cache
def region() -> Settings:
    """A running region: the one of CARAVAN_TEST_HOME, else one that lives until `close`."""
    running = os.environ.get("CARAVAN_TEST_HOME")
    if running:
        return read_settings(home=Path(running), port_offset=int(os.environ.get("CARAVAN_PORT_OFFSET", "0")))
    from caravan.stack import up

    home = Path(tempfile.mkdtemp(prefix="caravan-kill-"))
    home.chmod(0o711)
    s = up(read_settings(home=home, port_offset=free_offset()), regions=("primary",), control=False)
    _ours.append(s)
    return s


def close() -> None:
    """Stop what was started here. Not when the interpreter ends: then no thread can be started that stops services."""
    from caravan.stack import down

    while _ours:
        s = _ours.pop()
        down(s)
        shutil.rmtree(s.home, ignore_errors=True)
    region.cache_clear()
