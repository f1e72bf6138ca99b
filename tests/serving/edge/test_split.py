"""Shoppers stay in their arm, and the arm that was meant for them is what is logged and counted."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from pathlib import Path

import httpx

from contracts.region_paths import ACCESS_LOG
from monitoring.canary_policy import CanaryPolicy
from monitoring.outcomes import OutcomeReader, Watched
from serving.edge import arm_assignment, edge
from tests.serving.edge.running_edge import AS_SHOP, Edge


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
        cookie = first.cookies[arm_assignment.SHOPPER_COOKIE]
        assert "HttpOnly" in first.headers["set-cookie"]
        again = running.http.get("/search?q=a")
        assert "set-cookie" not in again.headers
        assert again.json()["name"] == first.json()["name"]
        assert first.json()["headers"][arm_assignment.SHOPPER_HEADER] == cookie
    running.split(0)


def test_every_request_says_which_arm_was_meant_for_its_shopper(running: Edge) -> None:
    edge.write_routes(running.folder, edge.TrafficSplit(control=30, rest=40, canary=30, salt="one"), running.s)
    running.wait(lambda: {running.who(f"probe-{n}") for n in range(40)} == {"control", "champion", "canary"})
    for number in range(20):
        running.http.cookies.clear()
        sent = {
            arm_assignment.SHOPPER_HEADER: f"shopper-{number}",
            arm_assignment.ARM_HEADER: "canary",
            arm_assignment.SPLIT_HEADER: "mine",
        }
        answer = running.http.get("/search?q=a", headers=sent | AS_SHOP)
        seen = answer.json()
        assert seen["headers"][arm_assignment.ARM_HEADER] == {"champion": "rest"}.get(seen["name"], seen["name"])
        assert seen["headers"][arm_assignment.SPLIT_HEADER] == f"one:shopper-{number}"
    assert running.line(answer)["arm"] == seen["headers"][arm_assignment.ARM_HEADER]
    running.split(0)


def test_nobody_can_say_which_arm_is_meant_or_be_a_copy(running: Edge) -> None:
    edge.write_routes(running.folder, edge.TrafficSplit(control=50, rest=0, canary=50, salt="one"), running.s)
    running.wait(lambda: {running.who(f"probe-{n}") for n in range(40)} == {"control", "canary"})
    sent = {arm_assignment.SHOPPER_HEADER: "fake", arm_assignment.ARM_HEADER: "canary"}
    for method, path in (("GET", "/recommend"), ("GET", "/nowhere"), ("POST", "/similar/a")):
        assert running.line(running.http.request(method, path, headers=sent))["arm"] in (None, "-")
    for host in ("x-shadow", "x-shadow:80"):
        assert running.http.get("/search?q=a", headers={"host": host}).status_code == 400
    assert running.http.get("/search?q=a", headers={"host": "a-shadowy.shop"}).status_code == 200
    running.split(0)


def test_a_claimed_arm_of_what_envoy_turns_away_unread_counts_for_nothing(running: Edge) -> None:
    edge.write_routes(running.folder, edge.TrafficSplit(control=50, rest=0, canary=50, salt="one"), running.s)
    running.wait(lambda: {running.who(f"probe-{n}") for n in range(40)} == {"control", "canary"})
    claimed, log, now = f"{arm_assignment.ARM_HEADER}: canary", running.logs / ACCESS_LOG, time.time()
    watched = Watched(canary="b" * 64, champion="a" * 64, since=now, budget_ms=999, deadline_ms=999, catalog=None)
    reader = OutcomeReader(watched, log, running.folder / "no-answers")
    for request in (
        "GET /similar/a%2Fb HTTP/1.1\r\nhost: x",
        "GET /similar/a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket",
        "GET /similar/a HTTP/1.1",  # to no host
    ):
        with socket.create_connection((running.s.host, running.s.ports.edge), timeout=5) as raw:
            head = (
                f"{request}\r\n{arm_assignment.SHOPPER_HEADER}: turned-away\r\n{claimed}\r\nconnection: close\r\n\r\n"
            )
            raw.sendall(head.encode())
            assert raw.recv(100).split()[1] in (b"400", b"403")
    honest = {arm_assignment.SHOPPER_HEADER: "honest", **AS_SHOP}
    arm = running.http.get("/search?q=a", headers=honest).json()["headers"][arm_assignment.ARM_HEADER]
    running.wait(lambda: '"honest"' in log.read_text())
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    assert [line["arm"] for line in lines if line["shopper"] == "turned-away"] == ["canary"] * 3
    counted = reader.read_outcomes(CanaryPolicy(), now=now)
    assert (counted.control_shoppers, counted.canary_shoppers) == ((1, 0) if arm == "control" else (0, 1))
    running.split(0)


def test_another_salt_gives_other_shoppers_to_the_canary(running: Edge) -> None:
    shoppers = [f"shopper-{number}" for number in range(100)]
    sides = []
    for salt in ("first", "second"):
        edge.write_routes(running.folder, edge.TrafficSplit(rest=50, canary=50, salt=salt), running.s)
        running.wait(
            lambda salt=salt: (
                running.http.get("/search?q=a").json()["headers"][arm_assignment.SPLIT_HEADER][:5] == salt[:5]
            )
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
        edge.write_routes(it.folder, edge.TrafficSplit(rest=50, canary=50), it.s)

        def ask(number: int) -> httpx.Response:
            return it.http.get("/search?q=a", headers={arm_assignment.SHOPPER_HEADER: f"s-{number}", **AS_SHOP})

        it.wait(lambda: all(ask(number).status_code == 200 for number in range(20)))
        meant = set()
        for number in range(30):
            answer = ask(number)
            assert answer.json()["name"] == "champion"
            meant.add(
                it.line(answer)["arm"] if number % 5 == 0 else answer.json()["headers"][arm_assignment.ARM_HEADER]
            )
        assert meant == {"rest", "canary"}
    finally:
        it.close()


def test_a_shadow_sees_copies_of_questions_and_never_of_events(running: Edge) -> None:
    edge.write_routes(running.folder, edge.TrafficSplit(mirror=True), running.s)

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
