"""A running region for fault subjects that are not given one."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from contracts.settings import Settings, read_settings
from tests.conftest import free_offset


@cache
def region() -> Settings:
    """A running region: the one of CARAVAN_TEST_HOME, else one that lives until this process ends."""
    running = os.environ.get("CARAVAN_TEST_HOME")
    if running:
        return read_settings(home=Path(running), port_offset=int(os.environ.get("CARAVAN_PORT_OFFSET", "0")))
    from caravan.stack import down, up

    home = Path(tempfile.mkdtemp(prefix="caravan-kill-"))
    home.chmod(0o711)
    s = up(read_settings(home=home, port_offset=free_offset()), regions=("primary",), control=False)

    def stop() -> None:
        down(s)
        shutil.rmtree(home, ignore_errors=True)

    atexit.register(stop)
    return s
