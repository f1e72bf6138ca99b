"""Fixtures that every room shares."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from contracts.settings import Settings, read_settings

REPOSITORY = Path(__file__).resolve().parent.parent
#: Port offsets that a test run may take, tried in order, so that two runs on one machine do not meet.
OFFSETS = (3000, 5200, 7400, 9000, 800)
_taken: set[int] = set()

#: Time is measured by benchmarks, not by tests that share a busy machine.
hypothesis_settings.register_profile("caravan", deadline=None)
hypothesis_settings.load_profile("caravan")


_ended_with: list[int] = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    _ended_with.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End the process here: DuckDB's binding prints fifty lines about its own objects at an interpreter's end.

    What was registered to run at the end runs.
    """
    if _ended_with:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ended_with[-1])


def free_offset() -> int:
    """The first offset that no other test run took and at which nothing listens on the stack's first ports."""
    for offset in OFFSETS:
        if offset not in _taken:  # held until this process ends: a stack that is just starting does not listen yet
            lock = os.open(
                f"{tempfile.gettempdir()}/caravan-test-offset-{os.getuid()}-{offset}", os.O_CREAT | os.O_RDWR
            )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            _taken.add(offset)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", 21333 + offset))
            except OSError:
                continue
            return offset
    pytest.fail(f"all port offsets for tests are taken: {OFFSETS}; stop the other test run")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data sets beside the project; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets (../shared/data) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """Settings of a running region; CARAVAN_TEST_HOME names one that runs already, else one is started."""
    running = os.environ.get("CARAVAN_TEST_HOME")
    if running:
        yield read_settings(home=Path(running), port_offset=int(os.environ.get("CARAVAN_PORT_OFFSET", "0")))
        return
    from caravan.stack import down, up

    # not pytest's own folder: PostgreSQL may run as another user, who has to reach its data
    home = Path(tempfile.mkdtemp(prefix="caravan-test-"))
    home.chmod(0o711)
    s = up(read_settings(home=home, port_offset=free_offset()), regions=("primary",), control=False)
    try:
        yield s
    finally:
        down(s)
        shutil.rmtree(home, ignore_errors=True)
