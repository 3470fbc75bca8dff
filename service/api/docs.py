"""Routes of the OpenAPI document and of the interactive documentation, which works offline, without a CDN."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import fastapi_offline
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from service.api.openapi import build_document
from service.api.security import add_security
from service.errors import RequestProblem
from service.safe_headers import PAGE_POLICY

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.state import ModelState

STATIC = "/docs-static"

_find_scripts = re.compile(rb"<script>(.*?)</script>", re.DOTALL).findall


def make_router(app: FastAPI, state: ModelState, *, is_protected: bool) -> APIRouter:
    """Create the routes of the page and of the OpenAPI document, which describes the fields of the loaded model.

    Parameters
    ----------
    app : FastAPI
    state : ModelState
    is_protected : bool
        Whether requests need credentials.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def document() -> Response:
        if state.model is None:
            return RequestProblem.not_ready(state.reason).respond()
        document = build_document(app, state.model.scorer.schema)
        if is_protected:
            add_security(document)
        return JSONResponse(document)

    @router.get("/docs")
    async def page() -> HTMLResponse:
        # Relative URLs, so that the page also works behind a proxy that adds a path prefix.
        found = get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url=f"{STATIC[1:]}/swagger-ui-bundle.js",
            swagger_css_url=f"{STATIC[1:]}/swagger-ui.css",
            swagger_favicon_url=f"{STATIC[1:]}/favicon.png",
        )
        found.headers["Content-Security-Policy"] = PAGE_POLICY.format(scripts=hash_scripts(bytes(found.body)))
        return found

    return router


def hash_scripts(page: bytes) -> str:
    """Return the hashes of the scripts inside a page, in the form of a content security policy."""
    found = (base64.b64encode(sha256(script).digest()).decode() for script in _find_scripts(page))
    return "".join(f" 'sha256-{digest}'" for digest in found)


def make_static_files() -> StaticFiles:
    """Create the application that serves the scripts of the page, to be mounted at `STATIC`."""
    return StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
