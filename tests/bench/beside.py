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
from pathlib import Path

from tests.bench.load import Request, Result, offer

#: Rounds, the seconds of each, and requests a second.
ROUNDS, SECONDS, RATE = 8, 6.0, 100.0
#: Shoppers of the demo's shop.
SHOPPERS = 1_500


def recommend(number: int) -> Request:
    user = f"shopper-{random.Random(number).randrange(SHOPPERS):07d}"
    return "POST", "/recommend", json.dumps({"user_id": user, "k": 10}).encode()


def one_round(url: str, key: str) -> Result:
    """Raises RuntimeError unless every answer is a 200: a refusal is quick, and would flatter."""
    found = offer(url, recommend, rate=RATE, seconds=SECONDS, key=key)
    if found.failed or not found.latencies:
        raise RuntimeError(f"{url} answered {found.statuses}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.beside", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("urls", nargs=2, metavar="URL", help="the edges: the one before, the one after")
    parser.add_argument("--key-of-first", type=Path, help="file with the first shop's key; without it none is sent")
    parser.add_argument("--key-of-second", type=Path, help="file with the second shop's key")
    options = parser.parse_args()
    keys = [file.read_text().strip() if file else "" for file in (options.key_of_first, options.key_of_second)]
    pairs = list(zip(options.urls, keys, strict=True))
    for pair in pairs:  # each warms up
        one_round(*pair)
    rounds: dict[str, list[Result]] = {url: [] for url in options.urls}
    for turn in range(ROUNDS):
        for url, key in pairs if turn % 2 else reversed(pairs):
            rounds[url].append(one_round(url, key))
    for q in (0.5, 0.99):
        first, second = (statistics.median(found.quantile(q) for found in rounds[url]) for url in options.urls)
        print(f"p{q * 100:.0f}: {first:.2f} ms and {second:.2f} ms, ratio {second / first:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
