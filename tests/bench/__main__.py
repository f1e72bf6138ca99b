"""Run every benchmark, one after the other: `make bench`, or `python -m tests.bench features serving`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

found = sorted(p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py"))
chosen = sys.argv[1:] or found
unknown = set(chosen) - set(found)
if unknown:
    sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found)}")
sys.argv = sys.argv[:1]
for name in chosen:
    print(f"\n## {name}\n", flush=True)
    runpy.run_module(f"tests.bench.bench_{name}", run_name="__main__")
