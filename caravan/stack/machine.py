"""Shows recovery the embedded stack: the seam `recovery.machine.Machine`, on supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from caravan.stack import lifecycle
from caravan.stack.host import binaries
from caravan.stack.keys import credentials
from caravan.stack.services import postgres, region
from contracts.errors import SettingsError, StackError
from contracts.settings import Settings
from recovery.machine import DatabaseCluster

#: Keys without which a restored region could not read, sign or sign in; `control`'s Fernet key is one of them.
_OF_SETTINGS = ("snapshot_key", "pseudonym_key", "postgres_password", "mlflow_password", "verify_keys")
_OF_SERVICES = ("postgres_superuser_password", "mlflow_flask_key", "airflow_fernet_key")


class EmbeddedMachine:
    """One region of the local stack."""

    def __init__(self, s: Settings) -> None:
        self._s = s

    def tool(self, name: str) -> Path:
        return binaries.postgres(name)

    def keys(self) -> Mapping[str, str]:
        found = {name: self._s.secret(name) for name in _OF_SETTINGS if getattr(self._s, name) is not None}
        for name in _OF_SERVICES:
            try:
                found[name] = credentials.read_secret(self._s, name)
            except SettingsError:
                continue  # what is not there has no fingerprint, and preflight says so
        return found

    def cluster(self) -> DatabaseCluster:
        own = region.cluster(self._s)
        user = postgres.server_user(own.data)
        return DatabaseCluster(
            data=own.data,
            host=own.host,
            port=own.port,
            prefix=tuple(postgres.run_as(own)),
            owner=(user.pw_uid, user.pw_gid) if user else None,
        )

    def stop(self, *services: str) -> None:
        self._demand_ours()
        lifecycle.stop_services(self._s, services)

    def start(self, *services: str) -> None:
        self._demand_ours()
        lifecycle.start_services(self._s, services)

    def _demand_ours(self) -> None:
        """Raise StackError when the region's services run elsewhere: another supervisor must not start them here."""
        if self._s.database_host:
            raise StackError(
                f"the services of {self._s.region} are not the embedded stack's (CARAVAN_DATABASE_HOST is set)",
                remedy="restore with the embedded stack on the machine that is to take over; see docs/recovery.md",
            )
