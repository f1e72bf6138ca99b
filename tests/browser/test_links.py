"""Every address that the demo prints and every link of the plugin opens a page that says what it should.

With LINK_PICTURES set to a folder, pictures of the pages are kept there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from artifacts.registry import mlflow_client, mlflow_page
from caravan.cli.airflow_api import Airflow
from caravan.cli.demo.demo import addresses
from caravan.stack import up
from contracts.settings import API_PAGE, Settings
from tests.browser.pages import close_assistant, in_mlflow, into_airflow
from tests.browser.screenshots import CHROMIUM, browser
from training.fitting.tracking import TrackedRun

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"no Chromium at {CHROMIUM}; CHROMIUM names another"),
]
#: Only the view for model training has a registry in its menu; only the other one has these.
TRAINING, CHAT = "Model registry", "Prompts"


@pytest.fixture(scope="module")
def airflow(stack: Settings) -> Iterator[Airflow]:
    up(stack, regions=(), control=True)
    client = Airflow.of(stack)
    client.ensure_ready("nightly")
    yield client
    client.close()


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("LINK_PICTURES"):
        page.wait_for_timeout(1500)
        page.screenshot(path=str(Path(folder) / name))


def shows_training(page: Any) -> None:
    page.get_by_text(TRAINING).first.wait_for()
    assert not page.get_by_text(CHAT, exact=True).count()
    close_assistant(page)


def test_the_demos_addresses_open(stack: Settings, airflow: Airflow) -> None:
    found = dict(addresses(stack))
    assert set(found) == {"Airflow", "MLflow", "The shop's API"}
    with browser() as context:
        page = into_airflow(stack, context, "admin")
        page.goto(found["Airflow"])
        page.get_by_text("Trigger").first.wait_for()
        assert page.get_by_role("heading", name="Nightly").count()
        keep(page, "airflow.png")
        asked: set[str] = set()
        page.on("request", lambda request: asked.add(request.url))
        page.goto(found["The shop's API"])
        api = page.frame_locator(f"iframe[src*='{API_PAGE}']")
        for words in ("The shop's API", stack.edge_address, "Rank the catalog for a shopper", "/similar/{item_id}"):
            api.get_by_text(words).first.wait_for()
        keep(page, "api.png")
        api.get_by_text("Find items by text").click()
        api.get_by_text("walnut desk lamp").first.wait_for()
        assert not api.get_by_role("button", name="Try it out").count()
        keep(page, "api_route.png")
        hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
        assert hosts == {urlsplit(stack.airflow_address).netloc}
    with in_mlflow(stack, "reviewer") as context:
        page = context.new_page()
        page.goto(found["MLflow"])
        shows_training(page)
        keep(page, "mlflow.png")


def test_the_plugins_menu_leads_to_pages(stack: Settings, airflow: Airflow) -> None:
    views = next(p for p in airflow.call("GET", "/plugins")["plugins"] if p["name"] == "caravan")["external_views"]
    assert {view["name"]: view["href"] for view in views} == {
        "MLflow": mlflow_page(stack, "experiments"), "Shop API": f"/{API_PAGE}/",
    }  # fmt: skip
    with browser() as context:
        page = into_airflow(stack, context, "admin")
        page.get_by_role("button", name=re.compile("Browse")).first.click()
        for name in ("MLflow", "Shop API"):
            page.get_by_text(name, exact=True).first.wait_for()
        keep(page, "menu.png")
        page.get_by_text("Shop API", exact=True).first.click()
        page.frame_locator(f"iframe[src*='{API_PAGE}']").get_by_text("Rank the catalog").first.wait_for()


def test_links_of_tasks_open_the_training_view(stack: Settings) -> None:
    run = TrackedRun.start(stack, "seen-in-a-browser", "a run to look at", key="seen", tags={})
    run.finish()
    experiment = mlflow_client(stack).get_run(run.run_id).info.experiment_id
    with in_mlflow(stack, "reviewer") as context:
        page = context.new_page()
        for place in (f"experiments/{experiment}", f"experiments/{experiment}/runs/{run.run_id}"):
            page.goto(mlflow_page(stack, place))
            page.get_by_text("a run to look at").first.wait_for()
            shows_training(page)
            keep(page, f"mlflow_{place.count('/')}.png")


def test_nobody_reads_the_api_page_without_signing_in(stack: Settings, airflow: Airflow) -> None:
    with httpx.Client(base_url=stack.airflow_address, timeout=60) as client:
        document = client.get(f"/{API_PAGE}/openapi.json")
        assert (document.status_code, "recommend" in document.text) == (401, False)
        page = client.get(f"/{API_PAGE}/")
        assert page.status_code == 307
        assert "next=" in page.headers["location"]
    with browser() as context:
        page = context.new_page()
        page.goto(f"{stack.airflow_address}/{API_PAGE}/")
        page.locator("input[name=username]").wait_for()
