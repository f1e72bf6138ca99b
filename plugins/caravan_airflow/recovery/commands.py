"""Runs `caravan` for a task: what recovers a region must work without Airflow, so Airflow presses the same button."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from contracts.errors import CaravanError, NotFound, RestoreRefused, SettingsError, StackError
from contracts.exit_codes import NOTHING, REFUSED, UNANSWERED, WRONG_CALL

log = logging.getLogger(__name__)

#: What a command's exit code becomes in the task that ran it, so that a refusal is not tried again.
_ERRORS: dict[int, type[CaravanError]] = {
    WRONG_CALL: SettingsError, REFUSED: RestoreRefused, NOTHING: NotFound, UNANSWERED: StackError,
}  # fmt: skip


def caravan(*arguments: str) -> Any:
    """What `caravan ... --json` prints; its progress goes into the task's log as it comes.

    Raises an error of the exit code's kind, with what the command says was wrong and what to do.
    """
    command = [str(Path(sys.executable).with_name("caravan")), *arguments, "--json"]
    log.info("caravan %s", " ".join(arguments))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101
        said: list[str] = []
        telling = threading.Thread(target=_tell, args=(process.stderr, said), daemon=True)
        telling.start()
        printed = process.stdout.read()
        telling.join()
    if process.returncode:
        what = next((line.removeprefix("error: ") for line in said if line.startswith("error: ")), "")
        remedy = next((line.strip().removeprefix("try: ") for line in said if line.startswith("  try: ")), "")
        raise _ERRORS.get(process.returncode, CaravanError)(
            what or f"caravan {arguments[0]} ended with {process.returncode}", remedy=remedy or "see the log above"
        )
    return json.loads(printed)


def _tell(stream: IO[str], said: list[str]) -> None:
    for line in stream:
        said.append(line.rstrip())
        if said[-1]:
            log.info("%s", said[-1])
