"""The trigger, the waiting task and the closing of a request, in a fresh process with Airflow's SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from caravan_airflow.release.tasks import close, notice, why_closed

from contracts.errors import StackError
from releases.approval.approval import Rules
from tests.caravan_airflow.ledger_rows import RowLedger, rows
from tests.conftest import REPOSITORY

SCRIPT = """
import asyncio, json, sys
sys.path.insert(0, "plugins")
from caravan_airflow import triggers
from caravan_airflow.release.approval import ASKED_AGAIN, AskAgain, ReleaseApproval, _form
from releases.progress import Look
from caravan_airflow.release.waits import stopped
from contracts.errors import NotApproved
from tests.caravan_airflow.ledger_rows import DIGEST, rows

trigger = triggers.LedgerTrigger("shop", DIGEST, "shadow", every=0)
path, about = trigger.serialize()
again = triggers.LedgerTrigger(**about)
said = iter([RuntimeError("the database restarts"), Look(outcome="waiting"), Look(outcome="waiting"), Look(outcome="passed")])

def look():
    found = next(said)
    if isinstance(found, Exception):
        raise found
    return found, "a line; with more"

again.look = look

async def run():
    return [event.payload async for event in again.run()]

events = asyncio.run(run())
triggers.LEDGER_SILENCE_LIMIT_S = -1
again.look = lambda: 1 / 0
silent = asyncio.run(run())
approval = ReleaseApproval(task_id="approval")
form = {name: _form(DIGEST).get_param(name).serialize() for name in ("digest", "reason")}
print(json.dumps({
    "path": path, "about": about, "events": events, "silent": silent,
    "templates": list(approval.template_fields), "defaults": approval.defaults, "options": approval.options,
    "again": str(ASKED_AGAIN.evaluate(AskAgain("x"), 1, 99).action), "final": str(ASKED_AGAIN.evaluate(NotApproved("x"), 1, 99).action),
    "form": {name: [param["value"], param["schema"]["minLength"]] for name, param in form.items()},
    "rolled_back": str(stopped(DIGEST, rows(("rolled_back", {"reason": "abort: errors"}))[0])),
    "rejected": str(stopped(DIGEST, rows(("rejected", {"actor": "anna"}))[0])), "unknown": str(stopped(DIGEST, None)),
}))
"""  # noqa: E501


def test_the_trigger_the_request_and_the_errors(tmp_path: Path) -> None:
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["path"] == "caravan_airflow.triggers.LedgerTrigger"
    assert found["about"] == {"source": "shop", "digest": "ab" * 32, "step": "shadow", "every": 0}
    assert found["events"] == [{"outcome": "passed"}]  # a database that restarts in between ends nothing
    assert found["silent"] == [{"outcome": "silence"}]
    assert found["templates"] == []
    assert found["defaults"] is None  # a default would approve, or reject, in nobody's name
    assert found["options"] == ["Approve", "Reject"]
    assert ("RETRY" in found["again"].upper(), "FAIL" in found["final"].upper()) == (True, True)
    assert found["form"] == {"digest": ["ab" * 6, 12], "reason": ["", 1]}
    assert "was rolled back" in found["rolled_back"]
    assert "abort: errors" in found["rolled_back"]
    assert "by anna" in found["rejected"]
    assert "not in the ledger" in found["unknown"]


class Service:
    """States of the request, look by look."""

    def __init__(self, *states: str | None) -> None:
        self.states = list(states)
        self.skipped = 0

    def state(self, run: str, task: str) -> str | None:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def skip(self, run: str, task: str, note: str) -> None:
        self.skipped += 1


@pytest.mark.parametrize(
    ("states", "ended", "skipped"),
    [
        (["success"], "success", 0),
        (["awaiting_input"], "skipped", 1),
        (["up_for_retry"], "skipped", 1),
        (["queued", "running", "running", "success"], "success", 0),  # an answer is being written down
        (["running", "awaiting_input"], "skipped", 1),
    ],
)
def test_a_request_is_closed_unless_it_ends_by_itself(states: list[str | None], ended: str, skipped: int) -> None:
    service = Service(*states)
    assert close(service, "run", "because", timeout=5, every=0) == ended  # type: ignore[arg-type]
    assert service.skipped == skipped


@pytest.mark.parametrize(
    ("road", "words"),
    [
        (("approved", {"actor": "anna", "reason": "better"}), "gated -> approved, by anna: better"),
        (("rejected", {"actor": "timeout", "reason": "nobody answered"}), "gated -> rejected, by timeout: nobody"),
        (("asked", {"reason": "approval requested"}), "built -> gated"),
    ],
)
def test_a_closed_request_says_what_came_of_it(road: Any, words: str) -> None:
    told = why_closed(rows("built", "gated", road))
    assert told.startswith("This run asks no more. The ledger says:")
    assert words in told
    assert "elsewhere" not in told


def test_a_request_that_never_settles_is_an_error() -> None:
    with pytest.raises(StackError, match="running"):
        close(Service("running"), "run", "because", timeout=0.01, every=0.001)  # type: ignore[arg-type]


def test_the_note_tells_what_came_of_the_answers() -> None:
    rules = Rules(reviewers=frozenset({"anna", "ben"}), required=2)

    def told(*road: object) -> str:
        return notice(RowLedger("built", "gated", *road), rules, "shop", "x")  # type: ignore[arg-type]

    asked, refused = ("asked", {}), ("refused", {"actor": "eve", "reason": "eve is no reviewer"})
    assert told(asked) == ""
    assert told(asked, refused) == "The answer of eve was not taken: eve is no reviewer."
    assert told(asked, refused, ("approval", {"actor": "anna", "approval": True})) == "1 of 2 have approved: anna."
    assert told(refused, asked) == ""
