"""A taken port is named with its service, its holder and the way out, before anything starts."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.stack.supervision import processes
from contracts.errors import PortTaken
from contracts.region import ControlPorts, RegionPorts
from tests.conftest import OFFSETS


def test_a_taken_port_names_service_process_and_remedy() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            processes.check_ports("127.0.0.1", {port: "primary-redis (Redis)"})
    message = str(caught.value)
    for part in (str(port), "primary-redis", f"process {os.getpid()}", "CARAVAN_PORT_OFFSET"):
        assert part in message


def test_free_ports_pass_and_stay_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        processes.check_ports("127.0.0.1", {port: "anything"})


@given(st.integers(0, 9000))
def test_no_two_services_share_a_port_at_any_offset(offset: int) -> None:
    ports = [
        *asdict(RegionPorts.at("primary", offset)).values(),
        *asdict(RegionPorts.at("standby", offset)).values(),
        *asdict(ControlPorts.at(offset)).values(),
    ]
    assert len(set(ports)) == len(ports)
    assert min(ports) > 1024
    assert max(ports) < 32768, "below the range of outgoing connections"


def test_stacks_of_test_runs_do_not_meet() -> None:
    every = [
        port
        for offset in OFFSETS
        for ports in (ControlPorts.at(offset), RegionPorts.at("primary", offset), RegionPorts.at("standby", offset))
        for port in asdict(ports).values()
    ]
    assert len(set(every)) == len(every)
    assert max(every) < 32768  # from there on the kernel hands them out
