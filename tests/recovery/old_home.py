"""A home that an earlier version of the code left behind, unpacked for a test."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from caravan.stack.services import postgres
from contracts.release import State
from tests.conftest import REPOSITORY

FIXTURES = REPOSITORY / "tests" / "fixtures"


@dataclass(frozen=True, kw_only=True)
class OldHome:
    """What lies in it. Runs are those of Airflow, the others digests of releases."""

    path: Path
    source: str
    champion: str
    canary: str
    canary_state: State
    pending: str
    pending_run: str
    half_trained_run: str
    snapshot: str
    ledger_rows: int


@contextmanager
def old_home(commit: str) -> Iterator[OldHome]:
    """The home of `commit`, in a folder of its own."""
    about = json.loads((FIXTURES / f"home-{commit}.json").read_text())
    folder = Path(tempfile.mkdtemp(prefix="caravan-old-"))
    try:
        folder.chmod(0o711)
        home = folder / "home"
        with tarfile.open(FIXTURES / f"home-{commit}.tar.xz") as tar:
            # links lead to where the home was; `up` makes them again
            tar.extractall(home, (member for member in tar if not member.issym()), filter="data")
        home.chmod(0o711)
        for data in home.glob("**/postgres/data"):
            _give_to_its_server(data)
        snapshot = about.pop("snapshot")["id"]
        known = {name: about[name] for name in OldHome.__dataclass_fields__ if name in about}
        yield OldHome(path=home, snapshot=snapshot, **known)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give_to_its_server(data: Path) -> None:
    """What was packed as one user's belongs to the server's here."""
    data.chmod(0o700)
    server = postgres.server_user(data)
    if server is not None:
        for path in (data, *data.rglob("*")):
            os.chown(path, server.pw_uid, server.pw_gid)
