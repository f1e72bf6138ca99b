"""All tests: `python -m tests.side_by_side [PYTEST ARGUMENTS]`.

Three parts run beside each other, because two of them mostly wait: what needs the common stack and measures time, the
recovery of regions on stacks of its own, and what needs no stack. They differ in their priority for the processor, in
this order, so the last one takes what the others leave. A fourth one would be too many for two cores: shoppers who are
replayed then wait too long. Each is printed whole; the common stack's while it runs.

What failed is run once more, alone, and that counts: many tests expect real engines to answer in time, which a machine
that does three things at once cannot promise. Both runs are printed, and at the end how many tests had such a second
chance, with their names: a test that is often among them is wrong itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import pytest


@dataclass(frozen=True, kw_only=True)
class Part:
    """A selection of the tests; `nicer` is added to its niceness."""

    title: str
    select: tuple[str, ...]
    nicer: int


PARTS = (
    Part(title="on the common stack", select=("-m", "stack or airflow", "--ignore=tests/recovery"), nicer=0),
    Part(title="recovery", select=("tests/recovery",), nicer=5),
    Part(title="without a stack", select=("-m", "not (stack or airflow)", "--ignore=tests/recovery"), nicer=15),
)

#: pyproject's options, except the one by which nothing is remembered.
REMEMBERING = "-q --strict-markers --strict-config"


def main(arguments: list[str]) -> int:
    """Run all parts, then what failed once more; return the exit code of the first part that failed, else 0."""
    began = time.monotonic()
    with (
        ThreadPoolExecutor(len(PARTS)) as pool,
        tempfile.TemporaryFile("w+") as one,
        tempfile.TemporaryFile("w+") as two,
    ):
        outputs = (sys.stdout, one, two)
        runs = [pool.submit(_run, part, arguments, output) for part, output in zip(PARTS, outputs, strict=True)]
        codes = [run.result() for run in runs]
        for said in (one, two):
            said.seek(0)
            sys.stdout.write(said.read())
    chances: list[str] = []
    for number, part in enumerate(PARTS):
        if codes[number] == pytest.ExitCode.TESTS_FAILED:
            print(f"once more, alone: what failed {part.title}", flush=True)
            codes[number], again = _run_again(part, arguments)
            chances += again
    names = f" ({', '.join(chances)})" if chances else ""
    print(f"second chances: {len(chances)} tests{names}")
    print(f"all of it: {time.monotonic() - began:.0f} s, exit codes {codes}", flush=True)
    return next((code for code in codes if code), 0)


def _run(part: Part, arguments: list[str], output: IO[str]) -> int:
    # each part remembers what failed; elsewhere nothing is remembered
    options = ("-o", f"cache_dir=.pytest_cache/{part.title.replace(' ', '-')}", "-o", f"addopts={REMEMBERING}")
    command = ["nice", "-n", str(part.nicer), sys.executable, "-m", "pytest", *options, *part.select, *arguments]
    began = time.monotonic()
    code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    print(f"{part.title}: {time.monotonic() - began:.0f} s", file=output, flush=True)
    return code


def _run_again(part: Part, arguments: list[str]) -> tuple[int, list[str]]:
    """Run what failed of a part; return the exit code and the names of the tests that ran."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # of pytest's two forms, xunit1 names the file of a test
        reporting = (f"--junit-xml={report}", "-o", "junit_family=xunit1")
        code = _run(part, [*arguments, "--last-failed", *reporting], sys.stdout)
        cases = ElementTree.parse(report).iter("testcase") if report.exists() else ()  # noqa: S314 - pytest wrote it
        # one that fails again and then in its teardown too is there twice
        names = dict.fromkeys(f"{case.get('file')}::{case.get('name')}" for case in cases)
    return code, list(names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
