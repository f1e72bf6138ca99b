"""Shows the shop's API as a page of Airflow: its OpenAPI document, for people who are signed in.

Nothing is tried out from the page: a browser may not ask another host's API with this page's rights, and the edge
takes no request in the name of a web page. The document shows commands instead.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from caravan_airflow.active import here

_READERS = [Depends(requires_access_view(AccessView.DOCS))]


@cache
def application() -> FastAPI:
    """Make the application below the plugin's prefix; its scripts come from an installed package, unchanged."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=str(files("fastapi_offline") / "static")))

    @app.get("/", dependencies=_READERS)
    def get_page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="The shop's API",
            swagger_js_url="static/swagger-ui-bundle.js",
            swagger_css_url="static/swagger-ui.css",
            swagger_favicon_url="static/favicon.png",
            swagger_ui_parameters={"supportedSubmitMethods": [], "defaultModelsExpandDepth": 0},
        )

    @app.get("/openapi.json", dependencies=_READERS)
    def get_document() -> dict[str, Any]:
        from serving.http.openapi import make_document

        s = here()
        return make_document(s.edge_address, s.shop)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        """Lead to the sign-in, and back to the page afterwards."""
        if error.status_code == 401 and request.url.path.endswith("/"):
            return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)))
        return await http_exception_handler(request, error)

    return app
