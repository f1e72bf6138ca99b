"""Pictures for the docs, taken from the running stack: `python -m tests.browser.screenshots`.

The graph of the newest `nightly` run of each ending in the Airflow UI, the newest champion's version in the MLflow
registry, and the newest request for approval of a release that a night trained, so that its brief has its own figures.
The stack must have had two nights, as `caravan demo` leaves it; for an ending that no night had yet there is no new
picture, which is said. Needs Debian's chromium, or another one named in CHROMIUM.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caravan.cli.airflow_api import Airflow
from caravan.stack.keys import credentials
from contracts.errors import NotFound
from contracts.settings import Settings, settings
from tests.conftest import REPOSITORY

IMAGES = REPOSITORY / "docs" / "images"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SIZE = {"width": 1500, "height": 900}
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: Pictures of nights, by how the note of a night begins.
GRAPHS = {
    "released": "nightly_graph.png",
    "refused": "nightly_refused.png",
    "nothing landed": "nightly_nothing_landed.png",
    "crashed": "nightly_crashed.png",
}
#: Milliseconds a page may take on a busy machine.
PATIENCE = 240_000.0


def main() -> None:
    """Take the pictures."""
    s = settings()
    IMAGES.mkdir(parents=True, exist_ok=True)
    airflow = Airflow.of(s)
    request = newest_request(airflow, asked_by_nights(s))
    run = newest_run(airflow, "released")
    with browser() as context:
        page = signed_in(s, context)
        airflow_request(s, page, request, IMAGES / "airflow_approval.png")
    for ending, name in GRAPHS.items():
        try:
            shown = newest_run(airflow, ending)
        except NotFound as error:
            print(f"{name} stays as it is: {error}")
            continue
        with browser() as context:
            airflow_graph(s, signed_in(s, context), shown, IMAGES / name)
    with browser({"username": s.mlflow_username, "password": s.secret("mlflow_password")}) as context:
        registry_entry(s, context, str(run["conf"]["source"]), IMAGES / "registry.png")


def newest_run(airflow: Airflow, ending: str) -> dict[str, Any]:
    """The newest run that ended like this, as its note says. Raises NotFound."""
    found = airflow.call("GET", "/dags/nightly/dagRuns", params={"order_by": "-start_date", "limit": 50})
    for run in found["dag_runs"]:
        if str(run["note"]).startswith((f"{ending}:", f"{ending} in ")):
            return dict(run)
    raise NotFound(f"no run of nightly ended as: {ending}", remedy="`caravan nightly` makes one")


def asked_by_nights(s: Settings) -> set[str]:
    """The runs of `release` that the nightly chain starts, of those releases that were trained and measured."""
    from caravan_airflow.nightly.offering import run_name

    from artifacts.ledger import Ledger
    from artifacts.object_store import ObjectStore
    from artifacts.publish import read_manifest

    store = ObjectStore.of(s)
    digests = [place.digest for place in Ledger.of(s).releases(s.shop)]
    return {run_name(s.shop, d) for d in digests if read_manifest(store, d).meta.get("evaluation")}


def newest_request(airflow: Airflow, runs: set[str]) -> str:
    """The run, of these, whose request for approval is the newest; one that waits comes before all. Raises NotFound."""
    for answered in (False, True):
        about = {"response_received": answered, "order_by": "-created_at", "limit": 100}
        found = airflow.call("GET", "/dags/release/dagRuns/~/hitlDetails", params=about)
        for request in found["hitl_details"]:
            if (run := str(request["task_instance"]["dag_run_id"])) in runs:
                return run
    raise NotFound("nobody was asked about a release of a night", remedy="`caravan demo` makes two nights and asks")


@contextmanager
def browser(http_credentials: dict[str, str] | None = None) -> Iterator[Any]:
    """A headless browser's context with an empty profile."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=ARGUMENTS,
            viewport=SIZE,
            **({"http_credentials": http_credentials} if http_credentials else {}),
        )
        context.set_default_timeout(PATIENCE)
        try:
            yield context
        finally:
            context.close()


def signed_in(s: Settings, context: Any) -> Any:
    """A page of Airflow that the administrator has signed in to."""
    page = context.new_page()
    page.goto(f"{s.airflow_address}/auth/login/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", credentials.read_secret(s, "airflow_admin_password"))
    page.click("input[type=submit]")
    page.wait_for_url(lambda url: "/auth/login" not in url)
    return page


def airflow_request(s: Settings, page: Any, run: str, out: Path) -> None:
    """Open the request of a run of `release`, with the brief of its release."""
    page.set_viewport_size({**SIZE, "height": 1900})
    page.goto(f"{s.airflow_address}/dags/release/runs/{run}/tasks/approval/required_actions")
    page.get_by_text("What follows").first.wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=str(out))
    page.set_viewport_size(SIZE)


def airflow_graph(s: Settings, page: Any, run: dict[str, Any], out: Path) -> None:
    """Open the run, choose the graph."""
    page.goto(f"{s.airflow_address}/dags/nightly/runs/{run['dag_run_id'].replace('+', '%2B')}")
    page.get_by_role("button", name="Graph").first.click()
    page.locator(".react-flow__node").first.wait_for()
    divider = page.locator("[data-resize-handle], [role=separator]").first.bounding_box()
    if divider:  # make room for the graph
        page.mouse.move(divider["x"] + divider["width"] / 2, 300)
        page.mouse.down()
        page.mouse.move(SIZE["width"] * 0.7, 300, steps=8)
        page.mouse.up()
    fit = page.locator(".react-flow__controls-fitview")
    if fit.count():
        fit.first.click()
    page.wait_for_timeout(3000)
    page.screenshot(path=str(out))


def registry_entry(s: Settings, context: Any, source: str, out: Path) -> None:
    """The version that is champion, as MLflow shows it."""
    from artifacts.registry import Registry, model_name

    champion = Registry.of(s).alias(source, "champion")
    if champion is None:
        raise NotFound(f"{source} has no champion", remedy="`caravan nightly` makes one")
    page = context.new_page()
    page.goto(f"{s.mlflow_address}/#/models/{model_name(source)}/versions/{champion.number}")
    page.get_by_text(champion.digest[:12]).first.wait_for()
    close = page.get_by_role("button", name="Close")  # the assistant beside it
    if close.count():
        close.first.click()
    page.wait_for_timeout(3000)
    page.screenshot(path=str(out))


if __name__ == "__main__":
    main()
