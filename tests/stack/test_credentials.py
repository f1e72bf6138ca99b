"""Secrets: made once, private, complete, and left alone when the environment gives them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from caravan.stack import credentials
from contracts.errors import SettingsError
from contracts.settings import Settings, read_settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CARAVAN_SECRETS_DIR", raising=False)
    return tmp_path


def test_files_are_private_and_every_secret_setting_is_set(home: Path) -> None:
    s = credentials.ensure(Settings(home=home))
    assert mode(home / "secrets") == 0o700
    files = list((home / "secrets").iterdir())
    assert {mode(file) for file in files} == {0o600}
    secret_settings = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    for name in secret_settings:
        assert s.secret(name) == (home / "secrets" / f"caravan_{name}").read_text().strip()
    assert len({file.read_text() for file in files}) == len(files), "no secret is used twice"


def test_a_second_start_keeps_them_and_settings_read_the_same(home: Path) -> None:
    first = credentials.ensure(Settings(home=home))
    assert credentials.ensure(Settings(home=home)) == first
    assert read_settings(home=home) == first


def test_loose_modes_are_tightened(home: Path) -> None:
    credentials.ensure(Settings(home=home))
    (home / "secrets").chmod(0o755)
    (home / "secrets" / "caravan_redis_password").chmod(0o644)
    credentials.ensure(Settings(home=home))
    assert (mode(home / "secrets"), mode(home / "secrets" / "caravan_redis_password")) == (0o700, 0o600)


def test_what_the_environment_gives_is_not_generated(home: Path) -> None:
    s = credentials.ensure(Settings(home=home, redis_password=SecretStr("given")))
    assert s.secret("redis_password") == "given"
    assert not (home / "secrets" / "caravan_redis_password").exists()


def test_the_public_key_belongs_to_the_signing_key(home: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    s = credentials.ensure(Settings(home=home))
    private = load_pem_private_key(s.secret("signing_key").encode(), None)
    assert private.public_key() == load_pem_public_key(s.secret("verify_keys").encode())


def test_a_stack_that_never_ran_has_no_secrets(home: Path) -> None:
    with pytest.raises(SettingsError, match="caravan up"):
        credentials.read(Settings(home=home), "airflow_admin_password")


def test_a_password_of_somebodys_own_is_one_in_a_url_too() -> None:
    s = Settings(postgres_password=SecretStr("p@ss/%40:word"))
    for url in (s.database_url("caravan"), s.control_database_url):
        found = make_url(url)
        assert (found.password, found.host) == ("p@ss/%40:word", "127.0.0.1")
