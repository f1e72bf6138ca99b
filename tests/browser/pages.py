"""What people do on the pages of Airflow and MLflow, step by step as they do it."""

from __future__ import annotations

from typing import Any

from artifacts.registry import model_name
from caravan.stack.keys import credentials
from contracts.settings import Settings
from releases.approval.mlflow_app import TAG
from tests.browser.screenshots import browser


def in_mlflow(s: Settings, user: str) -> Any:
    """A browser that is signed in to MLflow."""
    return browser({"username": user, "password": credentials.read_secret(s, f"mlflow_{user}_password")})


def tag_a_version(s: Settings, context: Any, source: str, version: int, digest: str, value: str) -> Any:
    """Open the version's page and add the tag of approval; the page."""
    page = context.new_page()
    page.goto(f"{s.mlflow_address}/#/models/{model_name(source)}/versions/{version}")
    page.get_by_text(digest[:12]).first.wait_for()
    close_assistant(page)
    page.get_by_placeholder("Name").last.fill(TAG)
    page.get_by_placeholder("Value").last.fill(value)
    page.get_by_role("button", name="Add").last.click()
    return page


def close_assistant(page: Any) -> None:
    """MLflow opens one beside the page."""
    close = page.get_by_role("button", name="Close")
    if close.count():
        close.first.click()


def into_airflow(s: Settings, context: Any, user: str) -> Any:
    """A page that is signed in to Airflow."""
    page = context.new_page()
    page.goto(f"{s.airflow_address}/auth/login/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", credentials.read_secret(s, f"airflow_{user}_password"))
    page.click("input[type=submit]")
    page.wait_for_url(lambda url: "/auth/login" not in url)
    return page


def open_request(s: Settings, page: Any, digest: str) -> None:
    """The required action that asks about a release, with its brief."""
    from playwright.sync_api import TimeoutError

    request = page.get_by_text(digest[:12]).first
    for _ in range(30):  # a list that was empty when it was opened does not look again
        page.goto(f"{s.airflow_address}/required_actions?response_received=false")
        try:
            request.wait_for(timeout=8_000)
            break
        except TimeoutError:
            continue
    request.click()
    page.get_by_role("button", name="Approve").first.wait_for()


def approve_request(page: Any, reason: str) -> None:
    page.locator("[name=element_reason], #element_reason").first.fill(reason)
    page.get_by_role("button", name="Approve").first.click()
