"""All tests, in two halves side by side: `python -m tests.side_by_side [PYTEST ARGUMENTS]`.

One after the other, one of two cores would mostly wait. One half is what needs the common stack; the other what needs
none, and then the recovery of regions, which has a stack of its own. The second half is printed when both have ended.
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


def main(arguments: list[str]) -> int:
    """The exit code: of the first part that failed, else 0."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said, ThreadPoolExecutor(1) as pool:
        beside = pool.submit(lambda: [_run([*part, *arguments], said) for part in BESIDE])
        codes = [_run([*ON_THE_STACK, *arguments], None), *beside.result()]
        said.seek(0)
        sys.stdout.write(said.read())
    print(f"both halves: {time.monotonic() - began:.0f} s, exit codes {codes}")
    return next((code for code in codes if code), 0)


def _run(arguments: list[str], output: IO[str] | None) -> int:
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], stdout=output, stderr=output, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
