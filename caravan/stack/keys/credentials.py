"""Keeps the secrets of the local stack: generated at first start, one file each, mode 0600, in a folder of mode 0700.

A file `caravan_<name>` is read by `contracts.settings` as the setting `<name>`; the others belong to one
service alone. A secret that the environment already gives is not generated. No secret is ever printed.
`python -m caravan.stack.keys.credentials` makes them without starting anything, for `docker-compose.yaml`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from pydantic import SecretStr

from caravan.stack.host.private_files import write_private
from caravan.stack.keys import key_inventory as inventory
from contracts.errors import SettingsError
from contracts.region import RegionName
from contracts.settings import Settings, secrets_folder

#: Users of the Airflow pages and their roles there; `caravan` is no person: our own tasks sign in as it.
AIRFLOW_USERS = {"admin": "Admin", "reviewer": "User", "oncall": "Op", "viewer": "Viewer", "caravan": "Service"}
#: Users of the MLflow pages beside the service account; all of them read, and reviewers may answer.
MLFLOW_USERS = ("reviewer", "oncall", "viewer")


def _token() -> str:
    return secrets.token_urlsafe(32)


def _access_key() -> str:
    return secrets.token_hex(10).upper()


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _signing_key() -> str:
    from artifacts.signature import new_signing_key

    return new_signing_key()


def _public_half(private: str) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    key = load_pem_private_key(private.encode(), None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


#: Settings that are secrets, and how each is made.
OF_SETTINGS: dict[str, Callable[[], str]] = {
    "postgres_password": _token,
    "redis_password": _token,
    "s3_access_key": _access_key,
    "s3_secret_key": _token,
    "mlflow_password": _token,
    "airflow_password": _token,
    "pseudonym_key": _token,
    "signing_key": _signing_key,
    "token_key": _token,
    "metrics_token": _token,
    "snapshot_access_key": _access_key,
    "snapshot_secret_key": _token,
    "snapshot_key": _fernet_key,
}
#: Secrets that only the stack itself uses.
OF_SERVICES: dict[str, Callable[[], str]] = {
    "postgres_superuser_password": _token,
    "s3_internal_key": _token,
    # makes buckets and may pass the lock of snapshots: a person's, in the environment of no service
    **{f"{region}_store_administrator_access_key": _access_key for region in get_args(RegionName)},
    **{f"{region}_store_administrator_secret_key": _token for region in get_args(RegionName)},
    "mlflow_flask_key": _token,
    "airflow_database_password": _token,
    "airflow_api_key": _token,
    "airflow_jwt_key": _token,
    "airflow_fernet_key": _fernet_key,
    "airflow_broker_password": _token,
    **{f"airflow_{user}_password": _token for user in AIRFLOW_USERS if user != "caravan"},
    **{f"mlflow_{user}_password": _token for user in MLFLOW_USERS},
}


def directory(s: Settings) -> Path:
    """Return the folder of the secret files, the same one that `read_settings` reads."""
    return secrets_folder(s.home)


def _quiet(_: str) -> None:
    return None


def ensure(s: Settings, tell: Callable[[str], None] = _quiet) -> Settings:
    """Make what a new home needs, and new kinds of keys; return `s` with all its secrets set. Only `caravan up` does.

    Raises SettingsError, having made nothing, when a key that this home was made with is missing or empty.
    `tell` gets a line for what happened to the keys of a home that has data.
    """
    folder, known, has_data = directory(s), inventory.required(s), inventory.has_data(s)
    _refuse_gaps(s)
    inventory.check(s.model_copy(update=_of_files(s)))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    makers, given, made = _makers(s), _given(s), []
    for name, make in makers.items():
        if name not in given and not _content(folder / name):
            write_private(folder / name, make().strip(), durable=True)
            made.append(name)
    s = s.model_copy(update=_of_files(s))
    if s.verify_keys is None:
        write_private(folder / "caravan_verify_keys", _public_half(s.secret("signing_key")).strip(), durable=True)
        s = s.model_copy(update=_of_files(s))
    for path in folder.iterdir():
        path.chmod(0o600)
    if has_data and not inventory.is_recorded(s):
        tell(f"the keys of this home are recorded from now on, in {s.home / inventory.FILE}")
    if known and made:
        tell(f"new kinds of keys were made: {', '.join(made)}")
    there = {name: _content(folder / name) for name in sorted({*makers, "caravan_verify_keys", *known})}
    inventory.record(s, {**given, **{name: text for name, text in there.items() if text}})
    return s


def known(s: Settings) -> Settings:
    """Return `s` with the secrets there are; nothing is made. Raises SettingsError as `ensure` does."""
    _refuse_gaps(s)
    return s.model_copy(update=_of_files(s))


def renew(s: Settings, names: Sequence[str]) -> None:
    """Make keys again that are lost and can be replaced. Raises SettingsError for others, having made nothing."""
    folder, makers = directory(s), _makers(s)
    for name in names:
        if name in inventory.IRREPLACEABLE or name not in makers or _content(folder / name):
            can = ", ".join(sorted(one for one in makers if one not in inventory.IRREPLACEABLE))
            raise SettingsError(
                f"{name} cannot be made again: it is there, or no new one would open what there is",
                remedy=f"lost ones of these can: {can}; for others see docs/recovery.md, *Keys that are gone*",
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_private(folder / name, makers[name]().strip(), durable=True)


def _refuse_gaps(s: Settings) -> None:
    """Raise SettingsError when a key that this home was made with is missing or empty."""
    folder, given = directory(s), _given(s)
    gone = sorted(name for name in inventory.required(s) if name not in given and not _content(folder / name))
    if gone:
        raise SettingsError(
            f"keys that {s.home} was made with are missing or empty in {folder}: {', '.join(gone)}; nothing was made "
            "or changed",
            remedy="mount that folder, or lay its copy there; docs/recovery.md, *Keys that are gone*, says what else",
        )


def _makers(s: Settings) -> dict[str, Callable[[], str]]:
    """Return how to make each file; the key of the shop has the shop's name, because its own servers hold a copy."""
    own = {f"caravan_{name}": make for name, make in OF_SETTINGS.items()}
    return {**own, **OF_SERVICES, f"shop_key_{s.shop}": _token}


def _given(s: Settings) -> dict[str, str]:
    """Return what the environment gives in place of a file, by the name of that file."""
    folder, found = directory(s), {}
    for name in (*OF_SETTINGS, "verify_keys"):
        value = getattr(s, name)
        if value is not None and value.get_secret_value() and not _content(folder / f"caravan_{name}"):
            found[f"caravan_{name}"] = value.get_secret_value()
    return found


def _of_files(s: Settings) -> dict[str, SecretStr]:
    """Return the settings that `s` lacks and a file has."""
    texts = {name: _content(directory(s) / f"caravan_{name}") for name in (*OF_SETTINGS, "verify_keys")}
    return {name: SecretStr(text) for name, text in texts.items() if text and getattr(s, name) is None}


def read_secret(s: Settings, name: str) -> str:
    """Read a secret of a service by its file name. Raises SettingsError when the stack never ran."""
    try:
        return (directory(s) / name).read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"the secret {name} cannot be read ({error.strerror})", remedy="start the stack with `caravan up`"
        ) from None


def _content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    from contracts.settings import settings

    ensure(settings())
    print(f"the secrets are in {directory(settings())}")
