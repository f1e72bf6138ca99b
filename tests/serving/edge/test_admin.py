"""Envoy's own interfaces: a socket for its user, and metrics for the scraper."""

from __future__ import annotations

import stat

import httpx
import psutil
import pytest

from contracts.errors import ServingError
from serving.edge import admin
from tests.serving.edge.running_edge import Edge


def test_envoys_own_orders_come_through_a_socket_of_its_user_alone(running: Edge) -> None:
    socket_file = admin.region_socket(running.s)
    assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
    assert admin.is_live(socket_file)
    listening = {
        connection.laddr.port
        for connection in psutil.Process(running.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {running.s.ports.edge, running.s.ports.metrics}
    with pytest.raises(ServingError, match="404"):
        admin.ask(socket_file, "/nonsense")


def test_metrics_are_for_whoever_has_the_token(running: Edge) -> None:
    url = f"http://{running.s.host}:{running.s.ports.metrics}/metrics"
    token = {"authorization": "Bearer t0ken"}
    for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "t0ken"}):
        answer = httpx.get(f"{url}/champion", headers=headers)
        assert answer.status_code == 401
        assert "caravan_metrics_token" in answer.text
    assert httpx.get(f"{url}/champion", headers=token).json()["path"] == "/metrics"
    assert "envoy_http_downstream_rq" in httpx.get(f"{url}/edge", headers=token).text
    assert httpx.post(f"{url}/edge", headers=token).status_code == 401
    assert httpx.get(f"{url}/../quitquitquit", headers=token).status_code == 401
