"""Routes of the OpenAPI document and of the interactive documentation, which works offline, without a CDN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import fastapi_offline
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from service.api.openapi import build_document
from service.errors import RequestProblem

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.state import ModelState

STATIC = "/docs-static"


def make_router(app: FastAPI, state: ModelState) -> APIRouter:
    """Create the routes of the page and of the OpenAPI document, which describes the fields of the loaded model."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    async def document() -> Response:
        if state.model is None:
            return RequestProblem.not_ready(state.reason).respond()
        return JSONResponse(build_document(app, state.model.scorer.schema))

    @router.get("/docs")
    async def page() -> HTMLResponse:
        # Relative URLs, so that the page also works behind a proxy that adds a path prefix.
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url=f"{STATIC[1:]}/swagger-ui-bundle.js",
            swagger_css_url=f"{STATIC[1:]}/swagger-ui.css",
            swagger_favicon_url=f"{STATIC[1:]}/favicon.png",
        )

    return router


def make_static_files() -> StaticFiles:
    """Create the application that serves the scripts of the page, to be mounted at `STATIC`."""
    return StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
