"""A reviewer answers in Airflow's required actions, in a real browser.

With AIRFLOW_PICTURES set to a folder, a picture is kept there: `release_graph.png` of the docs. The release's figures
are made up here, so the docs' picture of a request comes from a real night instead (`make screenshots`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from artifacts.ledger import Ledger
from caravan.cli.airflow_api import Airflow
from caravan.stack import up
from caravan.stack.keys import credentials
from contracts.settings import Settings
from tests.browser.screenshots import CHROMIUM, browser
from tests.scenarios import made_release
from tests.waiting import until

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"no Chromium at {CHROMIUM}; CHROMIUM names another"),
]
PATIENCE = 300


@pytest.fixture
def airflow(stack: Settings) -> Iterator[Airflow]:
    up(stack, regions=(), control=True)
    client = Airflow.of(stack)
    client.ensure_ready("release")
    with made_release.resting_controller(stack):
        yield client
    client.close()


def await_state(airflow: Airflow, run: str, task: str, state: str) -> None:
    def is_in_it() -> bool:
        return any((t["task_id"], t["state"]) == (task, state) for t in airflow.tasks("release", run))

    until(is_in_it, PATIENCE, every=0.5, otherwise=f"{task} does not become {state}")


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("AIRFLOW_PICTURES"):
        page.wait_for_timeout(1500)  # what moves has come to rest: a picture of it says nothing
        page.screenshot(path=str(Path(folder) / name))


def sign_in(s: Settings, page: Any, user: str) -> None:
    page.goto(f"{s.airflow_address}/auth/login/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", credentials.read_secret(s, f"airflow_{user}_password"))
    page.click("input[type=submit]")
    page.wait_for_url(lambda url: "/auth/login" not in url)


def test_a_reviewer_reads_the_brief_and_approves(stack: Settings, airflow: Airflow) -> None:
    source, ledger = f"seen-{uuid.uuid4().hex[:6]}", Ledger.of(stack)
    champion = made_release.make(stack, source, day="2026-01-30", author="schedule")
    made_release.move(stack, source, champion, "approved", "champion")
    digest = made_release.make(stack, source, champion=champion, author="anna", policy="default", recipe="default")
    run = airflow.trigger("release", {"source": source, "digest": digest}, note="in a browser")
    await_state(airflow, run, "approval", "awaiting_input")
    with browser() as context:
        page = context.new_page()
        sign_in(stack, page, "reviewer")
        page.goto(f"{stack.airflow_address}/required_actions?response_received=false")
        page.get_by_text(digest[:12]).first.click()
        page.get_by_text("Slices that got worse").first.wait_for()
        for words in ("anna", "cold item", "0.2130", "Policy default", digest):
            assert page.get_by_text(words).count(), words
        page.set_viewport_size({"width": 1500, "height": 1750})
        page.locator("[name=element_reason], #element_reason").first.fill("better, and cold items are few")
        page.get_by_role("button", name="Approve").first.click()
        await_state(airflow, run, "approval", "success")
        made_release.move(stack, source, digest, "shadow", "canary_1", "canary_5")
        await_state(airflow, run, "canary_5", "deferred")
        page.set_viewport_size({"width": 1500, "height": 900})
        page.goto(f"{stack.airflow_address}/dags/release/runs/{quote(run, safe='')}")
        page.get_by_role("button", name="Graph").first.click()
        page.locator(".react-flow__node").first.wait_for()
        keep(page, "release_graph.png")
    moved = ledger.newest("approved", source=source, digest=digest)
    assert moved is not None
    assert (moved.actor, moved.reason) == ("reviewer", "better, and cold items are few")
    assert moved.evidence["door"] == "airflow"
