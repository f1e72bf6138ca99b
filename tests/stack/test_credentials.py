"""Secrets: made once, private, complete, and left alone when the environment gives them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from caravan.stack.keys import credentials, key_inventory
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
        credentials.read_secret(Settings(home=home), "airflow_admin_password")


def test_a_password_of_somebodys_own_is_one_in_a_url_too() -> None:
    s = Settings(postgres_password=SecretStr("p@ss/%40:word"))
    for url in (s.database_url("caravan"), s.control_database_url):
        found = make_url(url)
        assert (found.password, found.host) == ("p@ss/%40:word", "127.0.0.1")


def with_data(home: Path) -> None:
    place = home / "regions" / "primary" / "postgres" / "data"
    place.mkdir(parents=True)
    (place / "PG_VERSION").write_text("18")


@pytest.mark.parametrize(
    "name", [*(f"caravan_{one}" for one in credentials.OF_SETTINGS), "caravan_verify_keys", *credentials.OF_SERVICES]
)
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_key_that_the_home_was_made_with_is_never_made_anew(home: Path, name: str, how: str) -> None:
    """Every kind, whether its file is gone or was left empty by a power cut: `up` and `status` stop, and say so."""
    credentials.ensure(Settings(home=home))
    lost = home / "secrets" / name
    if how == "missing":
        lost.unlink()
    else:
        lost.write_text("")
    before = {path.name: path.read_bytes() for path in (home / "secrets").iterdir()}
    for ask in (credentials.ensure, credentials.known):
        with pytest.raises(SettingsError, match=f"{name}; nothing was made") as raised:
            ask(Settings(home=home))
        assert "Keys that are gone" in raised.value.remedy
    assert {path.name: path.read_bytes() for path in (home / "secrets").iterdir()} == before


def test_a_folder_of_secrets_that_is_not_mounted_is_not_filled(home: Path) -> None:
    credentials.ensure(Settings(home=home))
    (home / "secrets").rename(home / "elsewhere")
    with pytest.raises(SettingsError, match="caravan_pseudonym_key"):
        credentials.ensure(Settings(home=home))
    assert not (home / "secrets").exists()


def test_a_home_of_before_the_inventory_is_taken_over_when_it_has_all_its_keys(home: Path) -> None:
    """What 64f8502 left: data, and the keys of then. New kinds are made, and told; a gap stops it."""
    credentials.ensure(Settings(home=home))
    (home / key_inventory.FILE).unlink()
    for path in (home / "secrets").iterdir():
        if path.name not in key_inventory.FIRST:
            path.unlink()
    with_data(home)
    assert sorted(path.name for path in (home / "secrets").iterdir()) == sorted(key_inventory.FIRST)
    (home / "secrets" / "caravan_snapshot_key").rename(home / "kept")
    with pytest.raises(SettingsError, match="caravan_snapshot_key"):
        credentials.ensure(Settings(home=home))
    (home / "kept").rename(home / "secrets" / "caravan_snapshot_key")
    said: list[str] = []
    credentials.ensure(Settings(home=home), said.append)
    assert "recorded from now on" in said[0]
    assert "new kinds of keys were made: " in said[1]
    assert "primary_store_administrator_access_key" in said[1]
    assert "shop_key_shop" in said[1]
    credentials.ensure(Settings(home=home), said.append)
    assert len(said) == 2, "the second start has nothing to say"


def test_the_inventory_names_no_secret_and_is_signed(home: Path) -> None:
    credentials.ensure(Settings(home=home))
    path = home / key_inventory.FILE
    text = path.read_text()
    assert mode(path) == 0o600
    for secret in (home / "secrets").iterdir():
        assert secret.read_text().strip() not in text
        assert secret.name in text
    path.write_text(text.replace("caravan_redis_password", "caravan_redis_passwort"))
    (home / "secrets" / "caravan_redis_passwort").write_text("x")
    with pytest.raises(SettingsError, match="was changed"):
        credentials.ensure(Settings(home=home))


def test_a_lost_key_that_can_be_replaced_is_made_anew_when_asked(home: Path) -> None:
    credentials.ensure(Settings(home=home))
    lost = home / "secrets" / "airflow_viewer_password"
    old = lost.read_text()
    with pytest.raises(SettingsError, match="cannot be made again"):  # it is there
        credentials.renew(Settings(home=home), ["airflow_viewer_password"])
    lost.unlink()
    credentials.renew(Settings(home=home), ["airflow_viewer_password"])
    credentials.ensure(Settings(home=home))
    assert lost.read_text() != old
    for name in key_inventory.IRREPLACEABLE:
        (home / "secrets" / name).unlink()
        with pytest.raises(SettingsError, match="cannot be made again"):
            credentials.renew(Settings(home=home), [name])


def test_what_the_environment_gave_is_missed_when_it_gives_it_no_more(home: Path) -> None:
    credentials.ensure(Settings(home=home, redis_password=SecretStr("given")))
    with pytest.raises(SettingsError, match="caravan_redis_password"):
        credentials.ensure(Settings(home=home))
