"""People answer in the MLflow pages, in a real browser.

With MLFLOW_PICTURES set to a folder, the pictures are kept there: `mlflow_approval.png` is the one in the docs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.registry import Registry
from contracts.settings import Settings
from releases.approval.mlflow_app import TAG
from tests.browser.pages import close_assistant, in_mlflow, tag_a_version
from tests.browser.screenshots import CHROMIUM
from tests.releases.parts import Case, alone, gated

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"no Chromium at {CHROMIUM}; CHROMIUM names another"),
]


@pytest.fixture(scope="module", autouse=True)
def _alone(stack: Settings) -> Iterator[None]:
    with alone(stack):
        yield


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("MLFLOW_PICTURES"):
        page.wait_for_timeout(1500)  # what slides in has arrived
        page.screenshot(path=str(Path(folder) / name))


def sets_the_tag(s: Settings, context: Any, case: Case, value: str) -> Any:
    return tag_a_version(s, context, case.source, case.version, case.digest, value)


def test_a_reviewer_approves_on_the_versions_page(stack: Settings) -> None:
    case = gated(stack, register=True)
    case.ask()
    with in_mlflow(stack, "reviewer") as context:
        page = sets_the_tag(stack, context, case, f"approve {case.digest[:12]} better on new items")
        page.get_by_role("cell", name=TAG).wait_for()
        page.reload()
        page.get_by_text(f"approved {case.digest[:12]} by reviewer: better on new items").wait_for()
        close_assistant(page)
        keep(page, "mlflow_approval.png")
    assert case.state == "approved"
    move = case.told("approved")[0]
    assert (move.actor, move.reason, move.evidence["door"]) == ("reviewer", "better on new items", "mlflow")


def test_a_viewer_is_told_why_not(stack: Settings) -> None:
    case = gated(stack, register=True)
    with in_mlflow(stack, "viewer") as context:
        page = sets_the_tag(stack, context, case, f"approve {case.digest[:12]} me too")
        page.get_by_text("viewer is no reviewer").first.wait_for()
        keep(page, "mlflow_refusal.png")
    assert case.state == "gated"
    assert case.told("refused")[0].actor == "viewer"
    assert Registry.of(stack).versions(case.source)[0].digest == case.digest
