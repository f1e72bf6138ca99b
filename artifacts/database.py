"""Connects to our database of the region, and brings its tables up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from artifacts.fence import REFUSED
from contracts.errors import Fenced, StoreUnavailable
from contracts.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
#: Advisory lock under which migrations run, so that two processes that start together do not race.
_MIGRATING = 7_240_001
#: How soon a server that is away is noticed, in seconds and milliseconds; none of our queries takes half a minute.
_CONNECTION_TIMEOUTS: dict[str, Any] = {
    "connect_timeout": 10, "options": "-c statement_timeout=30000", "tcp_user_timeout": 20_000, "keepalives_idle": 10,
    "keepalives_interval": 5, "keepalives_count": 2,
}  # fmt: skip


@cache
def _engine(url: str) -> Engine:
    return create_engine(url, pool_size=2, max_overflow=4, pool_pre_ping=True, connect_args=_CONNECTION_TIMEOUTS)


def engine(s: Settings) -> Engine:
    """Return the process's pool of connections to the region's database `caravan`."""
    return _engine(s.database_url("caravan"))


@contextmanager
def answering() -> Iterator[None]:
    """Raise what the database says as one of our errors: Fenced if it refuses this region, else StoreUnavailable."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == REFUSED:
            said = str(error.orig).splitlines()[0].removeprefix("ERROR:").strip()
            raise Fenced(said, remedy="`caravan region` says which one is active; work there") from error
        raise StoreUnavailable(
            "the region's database refused or does not answer", remedy="`caravan status` shows it; then retry"
        ) from error


def migrate(engine: Engine) -> None:
    """Bring the tables up to date; safe to call from many processes at once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def server_holds(lock: Path) -> bool:
    """Say whether the process that a `postmaster.pid` names is the server of its folder, not another one by now."""
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
        return "postgres" in process.name() and str(lock.parent) in process.cmdline()
    except (psutil.NoSuchProcess, ValueError, OSError):
        return False
