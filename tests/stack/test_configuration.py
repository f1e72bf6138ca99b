"""What the programs are told: loopback only, no secret on a command line, nothing that a shell or supervisor bends."""

from __future__ import annotations

import configparser
import os
import pwd
import shlex
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
from supervisor.options import ServerOptions

from artifacts import database
from artifacts.registry import ALLOW_PICKLE
from caravan.stack.host import environment
from caravan.stack.host.program import Program
from caravan.stack.keys import credentials
from caravan.stack.services import control, postgres, region
from caravan.stack.supervision import folders, processes, supervisor
from contracts import sockets
from contracts.errors import StackError
from contracts.settings import Settings
from tests.conftest import REPOSITORY


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("CARAVAN_SECRETS_DIR", raising=False)
    return credentials.ensure(Settings(home=tmp_path / "100% my shop"))


def all_programs(s: Settings) -> list[Program]:
    standby = s.of_region("standby")
    return [*region.programs(s), *region.programs(standby), *control.programs(s)]


def test_names_and_ports_are_used_once(settings: Settings) -> None:
    programs = all_programs(settings)
    assert len({program.name for program in programs}) == len(programs)
    ports = [port for program in programs for port in program.ports.values()]
    assert len(set(ports)) == len(ports)


def test_no_secret_is_on_a_command_line(settings: Settings) -> None:
    secrets = [file.read_text().strip() for file in credentials.directory(settings).iterdir()]
    for program in all_programs(settings):
        line = " ".join(program.command)
        assert not any(secret in line for secret in secrets), program.name


def test_nothing_is_told_to_listen_elsewhere_than_on_loopback(settings: Settings) -> None:
    for program in all_programs(settings):
        assert "0.0.0.0" not in " ".join([*program.command, *program.environment.values()])  # noqa: S104
    configured = control.configuration(settings)
    assert configured["api"]["host"] == "127.0.0.1"
    for service in control.programs(settings):
        if service.service in {"scheduler", "triggerer"}:
            assert "--skip-serve-logs" in service.command, "these servers bind to every address"


def test_supervisor_finds_its_groups_in_a_path_with_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARAVAN_SECRETS_DIR", raising=False)
    settings = credentials.ensure(Settings(home=tmp_path / "my shop"))
    supervisor.run_folder(settings).mkdir(parents=True)
    supervisor.write_group(settings, "primary", region.programs(settings))
    monkeypatch.setattr(supervisor.subprocess, "run", lambda *_, **__: CompletedProcess((), 1, stdout=b""))
    with suppress(StackError):
        supervisor.start(settings)
    options = ServerOptions()
    options.realize(["-c", str(supervisor.run_folder(settings) / "supervisord.conf")])
    assert [group.name for group in options.process_group_configs] == ["primary"]
    assert options.pidfile == str(supervisor.run_folder(settings) / "supervisord.pid")


@pytest.mark.parametrize("name", ["a[1]", "all*", "what?", "100%", "a ;b"])
def test_a_path_that_supervisor_would_bend_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StackError, match="supervisor"):
        folders.make(Settings(home=tmp_path / name), ["primary"])


def test_a_home_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be made"):
        folders.make(Settings(home=tmp_path / "file" / "home"), ["primary"])


def test_supervisor_reads_back_what_was_meant(settings: Settings) -> None:
    supervisor.run_folder(settings).mkdir(parents=True)
    programs = region.programs(settings)
    supervisor.write_group(settings, "primary", programs)
    path = supervisor.run_folder(settings) / "group-primary.conf"
    assert path.stat().st_mode & 0o777 == 0o600
    # supervisor's own expansion of % is that of configparser
    file = configparser.ConfigParser(inline_comment_prefixes=None)
    file.read(path)
    for program in programs:
        section = file[f"program:{program.name}"]
        assert tuple(shlex.split(section["command"])) == program.command
        assert section["directory"] == str(program.directory)


def test_a_value_that_supervisor_can_not_carry_is_refused(settings: Settings) -> None:
    supervisor.run_folder(settings).mkdir(parents=True)
    broken = Program(
        group="primary",
        service="x",
        command=("true",),
        directory=settings.home,
        environment={"A": 'say "x"'},
        ready=lambda _: True,
    )
    with pytest.raises(StackError, match="quote"):
        supervisor.write_group(settings, "primary", [broken])


def test_a_long_home_still_has_a_socket(settings: Settings) -> None:
    deep = settings.model_copy(update={"home": settings.home / ("x" * 120)})
    assert len(os.fsencode(supervisor.socket_path(deep))) <= sockets.LONGEST_PATH
    assert supervisor.socket_path(deep) != supervisor.socket_path(settings)


def test_settings_reach_the_programs_but_other_tools_settings_do_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AWS_PROFILE",
        "PGHOST",
        "AIRFLOW__CORE__EXECUTOR",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
        "https_proxy",
        "PYTHONPATH",
    ):
        monkeypatch.setenv(name, "elsewhere")
    inherited = environment.base(settings)
    assert "elsewhere" not in inherited.values()
    assert inherited[environment.MARKER] == str(settings.home)
    moved = settings.model_copy(update={"port_offset": 700, "region": "standby"})
    variables = environment.of_settings(moved)
    assert variables["CARAVAN_PORT_OFFSET"] == "700"
    assert variables["CARAVAN_REGION"] == "standby"
    assert not any(value == settings.secret("redis_password") for value in variables.values())


def test_no_process_of_a_stack_or_of_the_image_lets_mlflow_read_a_pickle(settings: Settings) -> None:
    assert environment.base(settings)[ALLOW_PICKLE] == "false"
    assert f"{ALLOW_PICKLE}=false" in (REPOSITORY / "Dockerfile").read_text().split()
    assert ALLOW_PICKLE not in (REPOSITORY / "docker-compose.yaml").read_text()  # nothing there says otherwise


def test_a_folder_on_the_way_that_postgres_can_not_enter_is_found(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder.stat().st_uid == os.getuid() and folder not in (Path("/tmp"), Path("/")):
            folder.chmod(0o755)
    closed.chmod(0o700)
    assert postgres._first_closed_folder((closed / "inner" / "data",), nobody) == closed
    closed.chmod(0o711)
    assert postgres._first_closed_folder((closed / "inner" / "data",), nobody) is None


def test_a_lock_of_a_server_that_is_no_more_is_cleared(tmp_path: Path) -> None:
    cluster = postgres.Cluster(folder=tmp_path, host="127.0.0.1", port=1, superuser_password="a password")
    cluster.data.mkdir()
    (cluster.data / "PG_VERSION").write_text("18\n")
    lock = cluster.data / "postmaster.pid"
    # alive, but it is this test and no PostgreSQL: what a recycled pid looks like
    lock.write_text(f"{os.getpid()}\n{cluster.data}\n")
    postgres.prepare(cluster)
    assert not lock.exists()


def test_the_server_of_another_folder_does_not_hold_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "postmaster.pid"
    lock.write_text("7\n")
    for folder, holds in ((str(tmp_path), True), ("/elsewhere/data", False)):
        server = SimpleNamespace(name=lambda: "postgres", cmdline=lambda folder=folder: ["postgres", "-D", folder])
        monkeypatch.setattr(database.psutil, "Process", lambda _pid, server=server: server)
        assert database.server_holds(lock) is holds


def test_nothing_belongs_to_a_stack_that_never_ran(tmp_path: Path) -> None:
    assert processes.of_stack(tmp_path, None) == []
