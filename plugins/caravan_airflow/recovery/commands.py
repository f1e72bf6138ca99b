"""Runs `caravan` for a task: what recovers a region must work without Airflow, so Airflow presses the same button."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from contracts.error_record import ErrorRecord
from contracts.errors import CaravanError, NotFound, RestoreRefused, SettingsError, StackError
from contracts.exit_codes import NOTHING, REFUSED, UNANSWERED, WRONG_CALL

log = logging.getLogger(__name__)

#: What a command's exit code becomes where it could not say more, so that a refusal is not tried again.
_ERRORS: dict[int, type[CaravanError]] = {
    WRONG_CALL: SettingsError, REFUSED: RestoreRefused, NOTHING: NotFound, UNANSWERED: StackError,
}  # fmt: skip


def caravan(*arguments: str) -> Any:
    """Return what `caravan ... --json` prints; its progress goes into the task's log as it comes.

    Raises the error that the command ended with, in its own class: a refusal stays one, and is not tried again.
    """
    command = [str(Path(sys.executable).with_name("caravan")), *arguments, "--json"]
    log.info("caravan %s", " ".join(arguments))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101
        logging_progress = threading.Thread(target=_log_lines, args=(process.stderr,), daemon=True)
        logging_progress.start()
        printed = process.stdout.read()
        logging_progress.join()
    if process.returncode:
        raise _error_of(printed, process.returncode, arguments[0])
    return json.loads(printed)


def _error_of(printed: str, code: int, name: str) -> CaravanError:
    """Make the error of a command from the JSON object that it ended with; without one, from its exit code."""
    record = ErrorRecord.from_json(printed.strip().rpartition("\n")[2])
    if record is not None:
        return record.raised()
    return _ERRORS.get(code, CaravanError)(f"caravan {name} ended with {code}", remedy="see the log above")


def _log_lines(stream: IO[str]) -> None:
    for line in stream:
        if line.rstrip():
            log.info("%s", line.rstrip())
