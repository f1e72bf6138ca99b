"""How fast the engine answers: `python -m tests.bench.bench_serving`.

One engine on one core, 10,000 items, a real Redis with 2,000 shoppers; the generator has the other core. Beside it a
FastAPI application that does nothing, on the same server.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psutil

from contracts.settings import read_settings
from tests.bench.load import Request, Result, highest_rate, offer
from tests.conftest import REPOSITORY
from tests.serving import live, tiny_release
from tests.waiting import until

ITEMS = 10_000
SHOPPERS = 2_000
WIDTH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each recommendation run")
    parser.add_argument("--bundle", type=Path, help="measure this release bundle instead of a synthetic one")
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    server_core, own_core = cores[0], cores[-1]
    pinned = ("taskset", "-c", str(server_core))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-serving-")))
        bundle = chosen.bundle or synthetic(folder)
        os.sched_setaffinity(0, {own_core})
        port, _ = stack.enter_context(live.redis(folder / "redis"))
        fill(folder / "home", port)
        engine = stack.enter_context(live.engine(folder / "home", bundle, redis_port=port, prefix=pinned))
        peer = stack.enter_context(peer_server(pinned))
        print(f"\n/recommend, k = 10, {ITEMS} items, one core ({os.cpu_count()} in the machine, load {load()}):\n")
        print(
            "| offered per s | answered per s | p50 ms | p99 ms | max ms | not 200 | peer p50 | peer p99 | p99 / peer |"
        )
        print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
        offer(engine.url, recommend, rate=100, seconds=3)
        for rate in (50, 200):
            ours = offer(engine.url, recommend, rate=rate, seconds=chosen.seconds)
            other = offer(peer, recommend, rate=rate, seconds=chosen.seconds)
            print(row(ours) + f" {other.quantile(0.5):.1f} | {other.quantile(0.99):.1f} | "
                  f"{ours.quantile(0.99) / other.quantile(0.99):.1f} |", flush=True)  # fmt: skip

        print("\nOverload: three times the highest rate with p99 under 100 ms keeps its goodput.\n")
        rate, best = highest_rate(engine.url, recommend, limit_ms=100, seconds=5, start=200)
        time.sleep(1)  # what the last measurement left in queues is gone
        over = offer(engine.url, recommend, rate=3 * rate, seconds=10)
        print("| offered per s | answered with 200 per s | share of its best | p99 ms of those | shed | late, ms |")
        print("|---:|---:|---:|---:|---:|---:|")
        print(f"| {rate:.0f} | {best.goodput:.0f} | | {best.quantile(0.99):.1f} | {best.failed} | {best.late:.0f} |")
        print(
            f"| {3 * rate:.0f} | {over.goodput:.0f} | {over.goodput / best.goodput:.0%} | {over.quantile(0.99):.1f} |"
            f" {over.failed} | {over.late:.0f} |",
            flush=True,
        )
        print(
            f"\nProcessor time of an answer at 200/s: {processor_ms(engine, seconds=chosen.seconds):.2f} ms", flush=True
        )
        time.sleep(2)

        print("\n/search, highest rate with p99 under 200 ms:\n")
        print("| queries | rate per s | p50 ms | p99 ms |")
        print("|---|---:|---:|---:|")
        for name, make in (("cold: every query is new", cold), ("cached: 200 queries come again", cached)):
            for number in range(200):
                if make is cached:
                    offer_one(engine.url, cached(number))
            rate, best = highest_rate(engine.url, make, limit_ms=200, seconds=6, start=25)
            print(f"| {name} | {rate:.0f} | {best.quantile(0.5):.1f} | {best.quantile(0.99):.1f} |", flush=True)
            time.sleep(2)


def synthetic(folder: Path) -> Path:
    """A release of random weights with all that a night's has; made in processes that leave the memory again."""
    bundle = tiny_release.build(folder / "bundle", ITEMS, WIDTH, encoder=encoder(folder), heavy=True)
    python(f"from tests.bench.night_bundle import add_sources\nadd_sources(Path({str(bundle)!r}), {ITEMS})")
    return bundle


def processor_ms(engine: live.Live, *, seconds: float) -> float:
    """The engine's own processor time per answer, which a busy machine changes less than its clock."""
    process = psutil.Process(engine.worker)
    before = process.cpu_times()
    done = offer(engine.url, recommend, rate=200, seconds=seconds)
    after = process.cpu_times()
    return 1000 * (after.user + after.system - before.user - before.system) / max(1, sum(done.statuses.values()))


def row(result: Result) -> str:
    return (
        f"| {result.rate:.0f} | {result.goodput:.0f} | {result.quantile(0.5):.1f} | {result.quantile(0.99):.1f} |"
        f" {max(result.latencies):.1f} | {result.failed} |"
    )


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def recommend(number: int) -> Request:
    draw = random.Random(number)
    body = {"user_id": f"shopper-{draw.randrange(SHOPPERS)}", "k": 10}
    return "POST", "/recommend", json.dumps(body).encode()


_cold = random.Random(time.time_ns())


def cold(number: int) -> Request:
    """A query nobody sent before."""
    del number
    return "GET", f"/search?q={quote(text(_cold) + f' {_cold.getrandbits(40)}')}", b""


def cached(number: int) -> Request:
    return "GET", f"/search?q={quote(text(random.Random(number % 200)))}", b""


def text(draw: random.Random) -> str:
    words = (*tiny_release.ADJECTIVES, *tiny_release.NOUNS, "for", "small", "kitchen", "gift")
    return " ".join(draw.choices(words, k=draw.randint(2, 5)))


def offer_one(url: str, request: Request) -> None:
    import httpx

    httpx.request(request[0], url + request[1], timeout=10)


def fill(home: Path, redis_port: int) -> None:
    """Give every shopper a history of 5 to 50 views, through the same push that /events uses."""
    from feature_repo.store import push_events
    from ingestion.pseudonymize import Pseudonymizer

    for name, value in live.environment(home, redis_port).items():
        if name.startswith("CARAVAN_"):
            os.environ[name] = value
    s = read_settings(home=home)
    names = Pseudonymizer(s.secret("pseudonym_key"))
    draw = random.Random(7)
    now = datetime.now(UTC)
    for start in range(0, SHOPPERS, 100):
        events = [
            {
                "user_id": names.hash(f"shopper-{shopper}"),
                "event_time": now - timedelta(minutes=number),
                "kind": "view",
                "item_id": tiny_release.item_id(draw.randrange(ITEMS)),
            }
            for shopper in range(start, start + 100)
            for number in range(draw.randint(5, 50))
        ]
        push_events(s, "shop", events)


def encoder(folder: Path) -> Path:
    """The sentence encoder, exported."""
    python(f"from training.models.text import export_encoder\nexport_encoder(Path({str(folder / 'encoder')!r}))")
    return folder / "encoder"


def python(program: str) -> None:
    """Run what needs torch in a process of its own."""
    program = f"from pathlib import Path\n{program}"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, capture_output=True)


def answers(url: str) -> bool:
    try:
        offer_one(url, ("GET", "/readyz", b""))
    except Exception:
        return False
    return True


class peer_server:  # noqa: N801 - used as a context manager
    """The peer application on a free port."""

    def __init__(self, prefix: tuple[str, ...]) -> None:
        self._prefix = prefix

    def __enter__(self) -> str:
        port = live.free_port()
        command = [*self._prefix, sys.executable, "-m", "tests.bench.peer_app", str(port)]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(url), 60, every=0.1, otherwise="the peer application does not answer")
        return url

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


if __name__ == "__main__":
    main()
