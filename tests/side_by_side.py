"""All tests: `python -m tests.side_by_side [PYTEST ARGUMENTS]`.

What needs the common stack mostly waits, so what needs none runs beside it and is printed when both have ended. The
recovery of regions has a stack of its own and two cores' worth of work; it comes afterwards, alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO

ON_THE_STACK = ["-m", "stack or airflow", "--ignore=tests/recovery"]
BESIDE = ["-m", "not (stack or airflow)", "--ignore=tests/recovery"]
AFTERWARDS = ["tests/recovery"]


def main(arguments: list[str]) -> int:
    """The exit code: of the first part that failed, else 0."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said, ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_run, [*BESIDE, *arguments], said)
        codes = [_run([*ON_THE_STACK, *arguments]), beside.result()]
        said.seek(0)
        sys.stdout.write(said.read())
        sys.stdout.flush()
    codes.append(_run([*AFTERWARDS, *arguments]))
    print(f"all of it: {time.monotonic() - began:.0f} s, exit codes {codes}")
    return next((code for code in codes if code), 0)


def _run(arguments: list[str], output: IO[str] | None = None) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, stdout=output, stderr=output, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
