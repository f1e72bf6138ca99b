"""The finder finds doors that stand open: five of them, each opened on purpose in another way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import psutil
import pytest

from caravan.stack.host import binaries
from tests.doors import walk
from tests.doors.judge import as_nobody, is_open, standing_open
from tests.doors.listening import doors
from tests.serving.live import free_port
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take on somebody else's rights")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="caravan-doors-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def http_server(folder: Path) -> tuple[list[str], int]:
    port = free_port()
    return [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)], port


def redis_without_password(folder: Path) -> tuple[list[str], int]:
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return [str(binaries.redis_server()), *options], port


def store_without_certificates(folder: Path) -> tuple[list[str], int]:
    """SeaweedFS' master as it comes: any process of the machine deletes a bucket by one GET."""
    port = free_port()
    where = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-port={port}", f"-port.grpc={free_port()}", f"-mdir={folder}"]
    return [str(binaries.weed()), "-logtostderr=true", "master", *where, "-telemetry=false"], port


def envoy_with_an_admin_port(folder: Path) -> tuple[list[str], int]:
    port = free_port()
    admin = {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    (folder / "envoy.json").write_text(json.dumps(admin))
    return list(binaries.envoy_command(folder / "envoy.json")), port


@pytest.mark.parametrize(
    "opened", [http_server, redis_without_password, store_without_certificates, envoy_with_an_admin_port]
)
def test_a_port_that_asks_nobody_is_found(
    opened: Callable[[Path], tuple[list[str], int]], open_folder: Path, tmp_path: Path
) -> None:
    command, port = opened(open_folder)
    with ExitStack() as stack, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=open_folder)
        stack.callback(process.wait, 10)
        stack.callback(process.kill)

        def stands_open() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            there = [door for door in doors(tree(process.pid)) if door.where.endswith(f":{port}")]
            return bool(there and standing_open(there, {}))

        # it listens a moment before it answers
        until(stands_open, 30, every=0.1, otherwise=f"port {port} is not found open")


@pytest.mark.parametrize(("mode", "stands_open"), [(0o777, True), (0o600, False)])
def test_a_unix_socket_that_others_may_open_is_found(open_folder: Path, mode: int, stands_open: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    class Server(UnixStreamServer):
        get_request = lambda self: (super(UnixStreamServer, self).get_request()[0], ("", 0))  # noqa: E731

    path = open_folder / "door.sock"
    with Server(str(path), Handler) as server:
        path.chmod(mode)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ours = [door for door in doors([os.getpid()]) if door.where == str(path)]
        assert [door.kind for door in ours] == ["unix"]
        assert bool(standing_open(ours, {})) is stands_open
        server.shutdown()


def test_a_file_that_others_may_read_is_found(open_folder: Path) -> None:
    mine, theirs, inside = open_folder / "mine", open_folder / "theirs", open_folder / "closed" / "theirs"
    inside.parent.mkdir()
    for path, mode in ((mine, 0o600), (theirs, 0o644), (inside, 0o644)):
        path.write_text("x")
        path.chmod(mode)
    inside.parent.chmod(0o711)
    asked = [str(path) for path in (mine, theirs, inside, inside.parent)]
    assert as_nobody(Path(walk.__file__).read_text(), json.dumps(asked)).split() == [str(theirs), str(inside)]


def test_what_is_no_answer_is_no_open_door() -> None:
    assert not is_open("GET /", "")
    assert not is_open("GET /", "HTTP/1.1 401 Unauthorized\r\n\r\n")
    assert not is_open("GET /", "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.")
    assert not is_open("redis", "-NOAUTH Authentication required.")
    assert not is_open("postgres", "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256")
    assert is_open("postgres", "R\0\0\0\x08\0\0\0\0")
    assert is_open("http2", "\0\0\x06\x04\0\0\0\0\0")
    assert is_open("GET /", "HTTP/1.1 204 No Content\r\n\r\n"), "an order that was taken has no body"


def tree(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]
