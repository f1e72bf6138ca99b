"""Measures `/recommend` through the edges of two running stacks in turns: what a change costs, on one machine.

`python -m tests.bench.beside http://127.0.0.1:22400 http://127.0.0.1:21200 --key-of-second FILE`

Both must have been given the same shop (the demo's, say). Rounds alternate, so that whatever the machine does besides
meets both. Prints the median over rounds of p50 and p99 in milliseconds, and the ratio of the second to the first.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

#: Rounds, and requests in each, at so many a second.
ROUNDS, REQUESTS, RATE = 8, 600, 100
#: Shoppers of the demo's shop.
SHOPPERS = 1_500


def latencies(url: str, key: str, count: int) -> list[float]:
    """Milliseconds of `count` requests, the shortest first. Raises RuntimeError for an answer that is no 200."""
    at, draw = urlsplit(url), random.Random(count)
    client = HTTPConnection(str(at.hostname), at.port, timeout=5)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    found, began = [], time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        body = json.dumps({"user_id": f"shopper-{draw.randrange(SHOPPERS):07d}", "k": 10})
        sent = time.perf_counter()
        client.request("POST", "/recommend", body, headers)
        answer = client.getresponse()
        answer.read()
        found.append((time.perf_counter() - sent) * 1e3)
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}")
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.beside", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("urls", nargs=2, metavar="URL", help="the edges: the one before, the one after")
    parser.add_argument("--key-of-first", type=Path, help="file with the first shop's key; without it none is sent")
    parser.add_argument("--key-of-second", type=Path, help="file with the second shop's key")
    options = parser.parse_args()
    keys = [file.read_text().strip() if file else "" for file in (options.key_of_first, options.key_of_second)]
    pairs = list(zip(options.urls, keys, strict=True))
    for url, key in pairs:
        latencies(url, key, 200)
    p50: dict[str, list[float]] = {url: [] for url in options.urls}
    p99: dict[str, list[float]] = {url: [] for url in options.urls}
    for turn in range(ROUNDS):
        for url, key in pairs if turn % 2 else reversed(pairs):
            found = latencies(url, key, REQUESTS)
            p50[url].append(statistics.median(found))
            p99[url].append(found[int(0.99 * len(found))])
    for name, figures in (("p50", p50), ("p99", p99)):
        first, second = (statistics.median(figures[url]) for url in options.urls)
        print(f"{name}: {first:.2f} ms and {second:.2f} ms, ratio {second / first:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
