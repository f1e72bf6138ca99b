"""Records the keys of a home: names and fingerprints, signed, beside the data and apart from the keys themselves.

A key that is missing later would otherwise be made again without a word: every shopper would get another pseudonym,
snapshots could not be opened, engines would refuse every release.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from caravan.stack.host.private_files import write_private
from contracts.errors import SettingsError, Tampered
from contracts.settings import Settings
from recovery.vault.encryption import fingerprint
from recovery.vault.manifest import open_signed, sign

FILE = "keys.json"
#: What every home older than the inventory has; whoever took such a home over must still have all of them.
FIRST = (
    "caravan_postgres_password", "caravan_redis_password", "caravan_s3_access_key", "caravan_s3_secret_key",
    "caravan_mlflow_password", "caravan_airflow_password", "caravan_pseudonym_key", "caravan_signing_key",
    "caravan_verify_keys", "caravan_snapshot_access_key", "caravan_snapshot_secret_key", "caravan_snapshot_key",
    "postgres_superuser_password", "s3_internal_key", "mlflow_flask_key", "airflow_database_password",
    "airflow_api_key", "airflow_jwt_key", "airflow_fernet_key", "airflow_broker_password", "airflow_admin_password",
    "airflow_reviewer_password", "airflow_oncall_password", "airflow_viewer_password", "mlflow_reviewer_password",
    "mlflow_oncall_password", "mlflow_viewer_password",
)  # fmt: skip
#: Without these, data that there are cannot be read, believed or named again: no new one takes their place.
IRREPLACEABLE = frozenset({
    "caravan_pseudonym_key", "caravan_signing_key", "caravan_verify_keys", "caravan_snapshot_key",
    "postgres_superuser_password",
})  # fmt: skip


def required(s: Settings) -> frozenset[str]:
    """List the keys that this home cannot do without: none while there are no data."""
    recorded = _names(s)
    if recorded is not None:
        return recorded
    return frozenset(FIRST) if has_data(s) else frozenset()


def is_recorded(s: Settings) -> bool:
    return (s.home / FILE).is_file()


def has_data(s: Settings) -> bool:
    """Check whether a database or an object store of this home has ever run."""
    places = (
        "regions/*/postgres/data/PG_VERSION",
        "control/postgres/data/PG_VERSION",
        "regions/*/seaweedfs/data/*.dat",
    )
    return any(next(s.home.glob(place), None) is not None for place in places)


def check(s: Settings) -> None:
    """Raise SettingsError when the inventory was changed by somebody without our signing key."""
    path = s.home / FILE
    if not path.is_file():
        return
    try:
        open_signed(path.read_bytes(), FILE, s)
    except Tampered as error:
        raise SettingsError(
            f"{path}: {error.what}",
            remedy="are these the keys of this home? docs/recovery.md, *Keys that are gone*, says how to go on",
        ) from None


def record(s: Settings, keys: Mapping[str, str]) -> None:
    """Write the inventory of `keys` (name -> secret), unless it says so already. Needs the signing key."""
    prints = {name: fingerprint(value) for name, value in sorted(keys.items())}
    text = sign({"keys": prints}, s).decode()
    path = s.home / FILE
    if not path.is_file() or path.read_text() != text:
        write_private(path, text, durable=True)


def _names(s: Settings) -> frozenset[str] | None:
    """Return the names in the inventory without checking its signature: the key for that may be the missing one."""
    path: Path = s.home / FILE
    try:
        return frozenset(json.loads(path.read_bytes())["body"]["keys"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(
            f"{path}, the inventory of this home's keys, cannot be read",
            remedy="docs/recovery.md, *Keys that are gone*",
        ) from None
