"""Nobody without a right gets anything of a running stack: two regions and the control group, sockets and files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from caravan.stack import lifecycle
from caravan.stack.supervision import processes, supervisor
from contracts.settings import Settings
from tests.doors import walk
from tests.doors.judge import as_nobody, standing_open
from tests.doors.listening import doors

pytestmark = [
    pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can take on somebody else's rights"),
]  # fmt: skip


def test_no_socket_gives_anything_to_somebody_without_a_right(two_regions: Settings) -> None:
    s = two_regions
    pids = {process.pid for process in processes.of_stack(s.home, supervisor.session(s))}
    found = doors({*pids, int(supervisor.call(s, "getPID"))})
    names = {str(port): label for program in lifecycle.programs(s) for label, port in program.ports.items()}
    listening = {door.where.rpartition(":")[2] for door in found}
    assert set(names) - listening <= {
        str(s.control_ports.airflow_worker_logs),
        str(s.control_ports.airflow_trigger_logs),
    }
    assert len([door for door in found if door.kind == "unix"]) >= 12, "engines, edges, supervisor, object stores"
    assert standing_open(found, names) == []


def test_no_file_of_a_home_is_read_by_somebody_else(two_regions: Settings) -> None:
    """As somebody else, by the whole name of everything there is: names are no secret."""
    everything = [
        str(Path(folder, name))
        for folder, folders, files in os.walk(two_regions.home)
        for name in ("", *folders, *files)
    ]
    assert len(everything) > 500
    assert as_nobody(Path(walk.__file__).read_text(), json.dumps(everything)).split("\n") == [""]
