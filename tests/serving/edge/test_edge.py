"""The files that Envoy reads: valid, repeatable, and read back."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from contracts.errors import SettingsError
from contracts.settings import read_settings
from serving.edge import edge, listener
from tests.serving.edge.running_edge import envoy, free_settings
from tests.waiting import until


def test_envoy_accepts_the_files(tmp_path: Path) -> None:
    s = read_settings(home=tmp_path, engine_url="http://engine.internal:8000")
    path = edge.write_edge(tmp_path / "edge", s)
    first = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert edge.write_edge(tmp_path / "edge", s) == path
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == first
    subprocess.run([envoy(), "--mode", "validate", "-c", str(path)], check=True, capture_output=True, timeout=60)


def test_weights_always_sum_to_100() -> None:
    assert [arm["weight"] for arm in edge.TrafficSplit(control=5, rest=90, canary=5).arms()] == [5, 90, 5]
    assert [(arm["name"], arm["weight"]) for arm in edge.TrafficSplit(rest_engine="former").arms()] == [("former", 100)]
    for bad in ({"rest": 99}, {"rest": 101, "canary": -1}, {"rest_engine": "nowhere"}):
        with pytest.raises(SettingsError):
            edge.TrafficSplit(**bad)  # type: ignore[arg-type]


def test_the_split_can_be_read_back(tmp_path: Path) -> None:
    s = read_settings(home=tmp_path)
    assert edge.read_split(tmp_path) is None
    split = edge.TrafficSplit(control=5, rest=90, canary=5, rest_engine="former", salt="abc", mirror=True)
    edge.write_routes(tmp_path, split, s)
    assert edge.read_split(tmp_path) == split


def test_an_engine_that_is_gone_is_a_quick_503(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        s = free_settings(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        path = edge.write_edge(tmp_path / "edge", s)
        command = edge.make_command(path)
        command[0] = envoy()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:

            def asked() -> httpx.Response | None:
                try:
                    return httpx.post(f"{s.edge_address}/recommend", json={"user_id": "a"}, timeout=5)
                except httpx.TransportError:
                    return None

            answer = until(asked, 20, every=0.1)
            assert answer.status_code == 503
            assert answer.json()["remedy"]
        finally:
            process.terminate()
            process.wait(timeout=10)
    assert yaml.safe_load((tmp_path / "edge" / listener.CLUSTERS).read_text())["resources"][0]["name"] == "champion"
