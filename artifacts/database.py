"""The region's database of ours: an engine, and its tables brought up to date."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from contracts.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
#: Advisory lock under which migrations run, so that two processes that start together do not race.
_MIGRATING = 7_240_001


@cache
def _engine(url: str) -> Engine:
    return create_engine(url, pool_size=2, max_overflow=4, pool_pre_ping=True, connect_args={"connect_timeout": 10})


def engine(s: Settings) -> Engine:
    """The process's pool of connections to the region's database `caravan`."""
    return _engine(s.database_url("caravan"))


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
