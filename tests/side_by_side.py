"""All tests: `python -m tests.side_by_side [PYTEST ARGUMENTS]`.

Four parts run beside each other, because most of them mostly wait: what needs a region and measures time, what needs
Airflow too, the recovery of regions, each on a stack of its own, and what needs no stack. They differ in their priority
for the processor, in this order, so the last one takes what the others leave. The first is printed while it runs, the
others when all have ended.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True, kw_only=True)
class Part:
    """A selection of the tests; `nicer` is added to its niceness."""

    title: str
    select: tuple[str, ...]
    nicer: int


PARTS = (
    Part(title="in a region", select=("-m", "stack and not airflow", "--ignore=tests/recovery"), nicer=0),
    Part(title="with Airflow", select=("-m", "airflow", "--ignore=tests/recovery"), nicer=2),
    Part(title="recovery", select=("tests/recovery",), nicer=5),
    Part(title="without a stack", select=("-m", "not (stack or airflow)", "--ignore=tests/recovery"), nicer=15),
)


def main(arguments: list[str]) -> int:
    """The exit code: of the first part that failed, else 0."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(PARTS)) as pool, ExitStack() as files:
        later = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in PARTS[1:]]
        outputs = (sys.stdout, *later)
        runs = [pool.submit(_run, part, arguments, output) for part, output in zip(PARTS, outputs, strict=True)]
        codes = [run.result() for run in runs]
        for said in later:
            said.seek(0)
            sys.stdout.write(said.read())
    print(f"all of it: {time.monotonic() - began:.0f} s, exit codes {codes}", flush=True)
    return next((code for code in codes if code), 0)


def _run(part: Part, arguments: list[str], output: IO[str]) -> int:
    command = ["nice", "-n", str(part.nicer), sys.executable, "-m", "pytest", *part.select, *arguments]
    began = time.monotonic()
    code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    print(f"{part.title}: {time.monotonic() - began:.0f} s", file=output, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
