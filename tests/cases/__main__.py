"""Run the everyday oddities from end to end: `python -m tests.cases [--only 22,26] [--seed 7] [--json]`.

Inputs are made from the clock and the seed. Cases that need a stack ask the one that CARAVAN_HOME and
CARAVAN_PORT_OFFSET name, which must be up and have served no shop before; without CARAVAN_HOME they start one in a
temporary home, land a small shop and run one small night. The exit code is 1 when a case fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.cases import every
from tests.cases.case import Given
from tests.cases.running import RunningShop, running_shop


def main(arguments: list[str]) -> int:
    """Run the chosen cases and show what was seen; 0 where all pass, 1 where one fails, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cases", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="NUMBERS", help="these cases, by commas: 22,26,N1")
    parser.add_argument("--seed", type=int, default=1, help="what the inputs are drawn from (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--without-stack", action="store_true", help="only the cases that run in seconds")
    options = parser.parse_args(arguments)
    try:
        cases = every.chosen([text.strip() for text in options.only.split(",") if text.strip()])
    except ValueError as error:
        parser.error(str(error))
    if options.without_stack:
        cases = [case for case in cases if case.needs == "nothing"]
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caravan-cases-in-")))
        shop: RunningShop | None = None
        for case in cases:
            if case.needs == "stack" and shop is None:
                shop = stack.enter_context(running_shop(Given.of("shop", folder, options.seed), _say))
            rows.append(every.run(case, folder, options.seed, shop))
            _say(f"{case.number} {case.title}: {'pass' if rows[-1].passed else 'FAIL'} ({rows[-1].seconds} s)")
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
    else:
        _show(rows)
    return int(not all(row.passed for row in rows))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(rows: list[every.Row]) -> None:
    table = Table("case", "expected", "seen", "", "seconds", show_lines=True)
    for row in rows:
        colour, word = ("green", "pass") if row.passed else ("bold red", "FAIL")
        seen = row.seen if len(row.seen) <= 600 else f"{row.seen[:600]}…"
        table.add_row(
            escape(f"{row.case} {row.title}"), escape(row.right), escape(seen), f"[{colour}]{word}[/]", f"{row.seconds}"
        )
    console = Console(width=None if sys.stdout.isatty() else 160, markup=True)
    console.print(table)
    failed = [row.case for row in rows if not row.passed]
    console.print(f"{len(rows) - len(failed)} of {len(rows)} pass" + (f"; not {', '.join(failed)}" if failed else ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
