"""Run every benchmark, one after the other: `make bench`, or `python -m tests.bench features serving`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

found = sorted(p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py"))
chosen = sys.argv[1:] or found
unknown = set(chosen) - set(found)
if unknown:
    sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found)}")
codes = {}
for name in chosen:
    print(f"\n## {name}\n", flush=True)
    # a process each: one that ends badly, or sets its own environment, leaves the others alone
    codes[name] = subprocess.run([sys.executable, "-m", f"tests.bench.bench_{name}"], check=False).returncode
if failed := [name for name, code in codes.items() if code]:
    sys.exit(f"failed: {', '.join(failed)}")
