"""All tests: `python -m tests.side_by_side [PYTEST ARGUMENTS]`.

What needs the common stack mostly waits, and measures time. So everything else runs beside it, at a lower priority of
the processor, and is printed when it has ended: what needs no stack, then the recovery of regions on stacks of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO

ON_THE_STACK = ["-m", "stack or airflow", "--ignore=tests/recovery"]
BESIDE = (["-m", "not (stack or airflow)", "--ignore=tests/recovery"], ["tests/recovery"])
#: Added to the niceness of what runs beside.
NICER = 10


def main(arguments: list[str]) -> int:
    """The exit code: of the first part that failed, else 0."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said, ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_beside, arguments, said)
        codes = [_run([*ON_THE_STACK, *arguments]), *beside.result()]
        said.seek(0)
        sys.stdout.write(said.read())
        sys.stdout.flush()
    print(f"all of it: {time.monotonic() - began:.0f} s, exit codes {codes}")
    return next((code for code in codes if code), 0)


def _beside(arguments: list[str], output: IO[str]) -> list[int]:
    return [_run([*part, *arguments], output) for part in BESIDE]


def _run(arguments: list[str], output: IO[str] | None = None) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    if output is not None:
        command = ["nice", "-n", str(NICER), *command]
    began = time.monotonic()
    code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    print(f"{' '.join(arguments)}: {time.monotonic() - began:.0f} s", file=output or sys.stdout, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
