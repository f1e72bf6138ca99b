"""Secrets of the local stack: generated at first start, one file each, mode 0600, in a folder of mode 0700.

A file `caravan_<name>` is read by `contracts.settings` as the setting `<name>`; the others belong to one
service alone. A secret that the environment already gives is not generated. No secret is ever printed.
`python -m caravan.stack.credentials` makes them without starting anything, for `docker-compose.yaml`.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from contracts.errors import SettingsError
from contracts.settings import Settings

#: Users of the Airflow pages and their roles there; `caravan` is nobody: our own tasks sign in as it.
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
    "snapshot_access_key": _access_key,
    "snapshot_secret_key": _token,
    "snapshot_key": _fernet_key,
}
#: Secrets that only the stack itself uses.
OF_SERVICES: dict[str, Callable[[], str]] = {
    "postgres_superuser_password": _token,
    "s3_internal_key": _token,
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
    """The folder of the secret files, the same one that `read_settings` reads."""
    return Path(os.environ.get("CARAVAN_SECRETS_DIR") or s.home / "secrets").expanduser()


def ensure(s: Settings) -> Settings:
    """Make every secret that is missing; return `s` with all its secrets set."""
    folder = directory(s)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    found: dict[str, SecretStr] = {}
    for name, make in OF_SETTINGS.items():
        if getattr(s, name) is None:
            found[name] = SecretStr(_read_or_make(folder / f"caravan_{name}", make))
    if s.verify_keys is None:
        signing = found.get("signing_key") or s.signing_key
        private = signing.get_secret_value() if signing else ""
        keys = _read_or_make(folder / "caravan_verify_keys", lambda: _public_half(private))
        found["verify_keys"] = SecretStr(keys)
    for name, make in OF_SERVICES.items():
        _read_or_make(folder / name, make)
    return s.model_copy(update=found)


def read(s: Settings, name: str) -> str:
    """A secret of a service, by its file name. Raises SettingsError when the stack never ran."""
    try:
        return (directory(s) / name).read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"the secret {name} can not be read ({error.strerror})", remedy="start the stack with `caravan up`"
        ) from None


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    try:
        value = path.read_text().strip()
    except FileNotFoundError:
        value = ""
    if not value:
        value = make().strip()
        write_private(path, value)
    path.chmod(0o600)
    return value


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Write a file that only its owner can read, whole or not at all; `owner` is (uid, gid)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if owner is not None:
        os.chown(temporary, *owner)
    os.replace(temporary, path)


if __name__ == "__main__":
    from contracts.settings import settings

    ensure(settings())
    print(f"the secrets are in {directory(settings())}")
