"""Requests that nobody should send: none may end in a 500, hang, or run what it carries.

Case `seed + n` is made from that number alone, so a failure is repeated by `run(seed=<its number>, count=1)`.
"""

from __future__ import annotations

import json
import pickle
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from tests.faults.nasty_values import RunsWhenLoaded, encoded, mutated, nasty, valid_body, value
from tests.faults.outcome import Outcome

#: No answer may take longer, seconds; what a slow client holds open ends by the body's time limit.
PATIENCE = 8.0
ROUTES = ("/recommend", "/search", "/similar/i-00001", "/events", "/healthz", "/readyz", "/metrics", "/openapi.json")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")


@dataclass(frozen=True)
class Target:
    """Where to send, and the file whose existence would prove that a payload ran."""

    url: str
    marker: Path
    http: httpx.Client


JSON_HEADERS = {"content-type": "application/json"}


def send_valid(draw: random.Random, target: Target) -> httpx.Response | None:
    """What a shop sends: it must be answered, whatever came before."""
    route = draw.choice(("/recommend", "/events"))
    response = target.http.post(route, json=valid_body(draw, route))
    if response.status_code != 200:
        raise AssertionError(f"a valid request to {route} was answered {response.status_code}: {response.text[:200]}")
    return response


def send_mutated(draw: random.Random, target: Target) -> httpx.Response | None:
    route = draw.choice(("/recommend", "/events"))
    body = encoded(mutated(draw, valid_body(draw, route), target.marker))
    return target.http.post(route, content=body, headers=JSON_HEADERS)


def send_any_value(draw: random.Random, target: Target) -> httpx.Response | None:
    route = draw.choice(("/recommend", "/events"))
    return target.http.post(route, content=encoded(value(draw, target.marker)), headers=JSON_HEADERS)


def send_broken_json(draw: random.Random, target: Target) -> httpx.Response | None:
    route = draw.choice(("/recommend", "/events"))
    body = bytearray(encoded(valid_body(draw, route)))
    for _ in range(draw.randint(1, 5)):
        action, at = draw.randint(0, 2), draw.randrange(len(body))
        if action == 0:
            body[at] = draw.randrange(256)
        elif action == 1:
            del body[at : at + draw.randint(1, 10)]
        else:
            body[at:at] = draw.randbytes(draw.randint(1, 10))
        if not body:
            break
    return target.http.post(route, content=bytes(body), headers=JSON_HEADERS)


def send_deep(draw: random.Random, target: Target) -> httpx.Response | None:
    depth = draw.choice((100, 1_000, 20_000, 200_000))
    opening, closing = draw.choice((("[", "]"), ('{"a":', "}"), ('{"events":[', "]}"), ('{"context":', "}")))
    body = opening * depth + "1" + closing * draw.choice((0, depth))
    return target.http.post(draw.choice(("/recommend", "/events")), content=body.encode(), headers=JSON_HEADERS)


def send_huge(draw: random.Random, target: Target) -> httpx.Response | None:
    size = draw.choice((1_000_000, 1_048_576, 1_048_577, 3_000_000))
    body = b'{"user_id": "' + b"a" * size + b'"}'
    if draw.random() < 0.5:
        chunks: Iterator[bytes] = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
        return target.http.post("/recommend", content=chunks, headers=JSON_HEADERS)
    return target.http.post("/recommend", content=body, headers=JSON_HEADERS)


def send_many(draw: random.Random, target: Target) -> httpx.Response | None:
    """Long lists: of events, of excluded items, of session items."""
    body = valid_body(draw, "/recommend")
    if draw.random() < 0.5:
        body["exclude"] = [f"i-{number}" for number in range(draw.choice((1_000, 1_001, 50_000)))]
        return target.http.post("/recommend", json=body)
    events = [valid_body(draw, "/events")["events"][0] for _ in range(draw.choice((499, 500, 501, 2_000)))]
    return target.http.post("/events", json={"events": events})


def send_other_content(draw: random.Random, target: Target) -> httpx.Response | None:
    """Pickles, forms, XML and YAML where JSON belongs, under many names."""
    kind = draw.choice(
        ("application/python-pickle", "text/yaml", "application/xml", "multipart/form-data", "", "a/b;c")
    )
    body = draw.choice(
        (
            pickle.dumps(RunsWhenLoaded(f"touch {target.marker}")),
            f"!!python/object/apply:os.system ['touch {target.marker}']".encode(),
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
            b"\x1f\x8b\x08" + draw.randbytes(200),
            draw.randbytes(draw.randint(0, 500)),
        )
    )
    headers = {"content-type": kind}
    if draw.random() < 0.3:
        headers["content-encoding"] = draw.choice(("gzip", "br", "deflate", "zstd"))
    return target.http.post(draw.choice(("/recommend", "/events")), content=body, headers=headers)


def send_query(draw: random.Random, target: Target) -> httpx.Response | None:
    """Search and similar with anything in their URL."""
    text = quote(nasty(draw, target.marker)[:4_000].encode("utf-8", "surrogatepass"), safe="")
    k = draw.choice(("10", "0", "-1", "101", "1e3", "NaN", "٣", "", "9" * 400, text[:200]))
    if draw.random() < 0.5:
        return target.http.get(f"/search?q={text}&k={k}")
    path = draw.choice((f"/similar/{text}", f"/similar/{text}?k={k}", f"/{text}", f"/similar/%ff%fe?k={k}"))
    return target.http.get(path)


def send_method(draw: random.Random, target: Target) -> httpx.Response | None:
    content = encoded(value(draw, target.marker)) if draw.random() < 0.5 else None
    return target.http.request(draw.choice(METHODS), draw.choice(ROUTES), content=content)


def send_headers(draw: random.Random, target: Target) -> httpx.Response | None:
    text = nasty(draw, target.marker).encode("utf-8", "replace")[:2_000]
    clean = bytes(b for b in text if b >= 32 and b != 127) or b"x"
    names = ("x-request-id", "accept", "cookie", "authorization", "x-forwarded-for", "x-shopper-id", "range", "host")
    headers = [(draw.choice(names).encode(), clean) for _ in range(draw.randint(1, 4))]
    request = target.http.build_request("GET", draw.choice(ROUTES), headers=headers)
    return target.http.send(request)


def send_raw(draw: random.Random, target: Target) -> httpx.Response | None:
    """Bytes that are not quite HTTP, and clients that stop in the middle of a sentence."""
    address = urlsplit(target.url)
    body = encoded(valid_body(draw, "/recommend"))
    host = b"Host: engine\r\n"
    post = b"POST /recommend HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
    whole = post + b"Content-Length: %d\r\n\r\n" % len(body) + body
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    payload, slow = draw.choice(
        (
            (draw.randbytes(draw.randint(1, 300)) + b"\r\n\r\n", False),
            (b"GET / HTTP/9.9\r\n" + host + b"\r\n", False),
            (b"GET /search?q=\x00 HTTP/1.1\r\n" + host + b"\r\n", False),
            (b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n" + host + b"\r\n", False),
            (post + both, False),
            (post + b"Content-Length: -1\r\n\r\n", False),
            (post + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", False),
            (post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", False),
            (post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n", False),
            (b"".join(b"x-%d: 1\r\n" % n for n in range(2_000)).join((b"GET / HTTP/1.1\r\n" + host, b"\r\n")), False),
            (whole * 5, False),  # pipelined
            (whole[: draw.randint(1, len(whole) - 1)], True),
            (post + b"Content-Length: 900000\r\n\r\n" + b"x" * 10, True),
        )
    )
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(payload)
            if slow:  # the others are answered while this one dawdles; then it goes away
                send_valid(draw, target)
                return None
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := connection.recv(65_536):
                answer += chunk
        except TimeoutError:
            raise AssertionError("a raw request was neither answered nor closed") from None
        except OSError:
            return None  # closed on us
    status = answer.split(b" ", 2)[1:2]
    if status and status[0].startswith(b"5"):
        raise AssertionError(f"a raw request was answered {status[0].decode(errors='replace')}")
    return None


CASES: tuple[tuple[Callable[[random.Random, Target], httpx.Response | None], int], ...] = (
    (send_valid, 10),
    (send_mutated, 30),
    (send_any_value, 8),
    (send_broken_json, 15),
    (send_deep, 3),
    (send_huge, 1),
    (send_many, 2),
    (send_other_content, 6),
    (send_query, 20),
    (send_method, 8),
    (send_headers, 6),
    (send_raw, 8),
)


def run_one(number: int, target: Target) -> str | None:
    """Send case `number`; None, or what was wrong with the answer."""
    draw = random.Random(number)
    case = draw.choices([case for case, _ in CASES], [weight for _, weight in CASES])[0]
    started = time.monotonic()
    try:
        response = case(draw, target)
    except httpx.TimeoutException:
        return f"seed {number} ({case.__name__}): no answer within {PATIENCE:g} s"
    except (httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError):
        response = None  # refused by closing, as a body that is too large may be
    except AssertionError as error:
        return f"seed {number} ({case.__name__}): {error}"
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError):
        return None  # our own client refused to send it
    if time.monotonic() - started > PATIENCE:
        return f"seed {number} ({case.__name__}): answered after {time.monotonic() - started:.1f} s"
    if response is None:
        return None
    text = response.text
    if response.status_code >= 500 or "Traceback" in text:
        return f"seed {number} ({case.__name__}): {response.status_code} {text[:200]}"
    if response.status_code >= 400 and response.request.method != "HEAD":
        try:
            problem = response.json()
        except ValueError:
            # what is not even HTTP is answered by the server below us, without a body
            return f"seed {number} ({case.__name__}): no JSON in the error: {text[:200]}" if text else None
        if not (problem.get("error") and problem.get("remedy")):
            return f"seed {number} ({case.__name__}): no error and remedy in {text[:200]}"
    return None


def run(seed: int, count: int, base_url: str | None = None) -> Outcome:
    """Send `count` cases to `base_url`, or to an engine and a Redis of its own, which is looked at afterwards too."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        marker = folder / "executed"
        looked_at: Callable[[], list[str]] = list
        if base_url is None:
            base_url, looked_at = stack.enter_context(own_engine(folder))
        http = stack.enter_context(httpx.Client(base_url=base_url, timeout=PATIENCE))
        target = Target(base_url, marker, http)
        outcome = Outcome(count=count)
        for number in range(seed, seed + count):
            failure = run_one(number, target)
            if failure:
                outcome.failures.append(failure)
        if marker.exists():
            outcome.failures.append(f"seeds {seed} to {seed + count - 1}: a payload was executed")
        if http.get("/readyz").status_code != 200:
            outcome.failures.append(f"seeds {seed} to {seed + count - 1}: the engine is not ready afterwards")
        outcome.failures += [f"seeds {seed} to {seed + count - 1}: {problem}" for problem in looked_at()]
    return outcome


@contextmanager
def own_engine(folder: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """An engine on a small bundle; with its URL comes a look at its processes, log and event log."""
    from tests.serving import live, tiny_release

    bundle = tiny_release.build(folder / "bundle", 60)
    with live.redis(folder / "redis") as (port, _), live.engine(folder / "home", bundle, redis_port=port) as running:
        worker = running.worker

        def look() -> list[str]:
            problems = []
            if running.process.poll() is not None or running.worker != worker:
                problems.append("the worker died")
            if "Traceback" in (log := running.log.read_text(errors="replace")):
                problems.append(f"the engine logged an error: {log[log.index('Traceback') :][:600]}")
            for line in running.event_lines():
                try:
                    row = json.loads(line)
                except ValueError:
                    problems.append(f"a line of the event log is not JSON: {line[:200]!r}")
                    continue
                if not str(row["user_id"]).startswith("u_"):
                    problems.append("a name in the clear lies in the event log")
            return problems

        yield running.url, look
