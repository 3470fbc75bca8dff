"""Routes of the page and of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from service.console.files import FRAME, make_page, name_release, read_files

if TYPE_CHECKING:
    from service.console.files import File

FILES = "/console"
"""Beginning of the paths of the files."""

_COMMON = "default-src 'none'; img-src 'self' data:; style-src 'self'; base-uri 'none'; form-action 'none'; "

POLICY = (
    f"{_COMMON}script-src 'self'; connect-src 'self'; frame-src 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Of the page: everything comes from this service, and no text can become a script."""

FRAME_POLICY = f"{_COMMON}script-src 'self'; frame-ancestors 'self'; sandbox allow-scripts"
"""Of the frame: it has an origin of its own, so it can neither call the API nor read the key of the page."""

REVALIDATE = "no-cache"
FOR_EVER = "public, max-age=31536000, immutable"
"""Of files, whose address changes with their content."""


def make_router(*, has_metrics: bool, has_admin: bool, has_records: bool, is_protected: bool) -> APIRouter:
    """Create the routes.

    Parameters
    ----------
    has_metrics, has_admin, has_records : bool
        Whether this port serves ``/metrics``, the routes below ``/admin`` and those below ``/records``.
    is_protected : bool
        Whether requests need credentials.
    """
    router = APIRouter(include_in_schema=False)
    offered = {"metrics": has_metrics, "admin": has_admin, "records": has_records}
    page = make_page(tuple(name for name, is_there in offered.items() if is_there), is_protected=is_protected)
    files = read_files()
    release = name_release()

    @router.get("/")
    async def show_page(request: Request) -> Response:
        return respond(request, page, REVALIDATE, POLICY)

    @router.get(FILES + "/{digest}/{name:path}")
    async def send_file(request: Request, digest: str, name: str) -> Response:
        if digest != release or name not in files:
            raise HTTPException(404)
        return respond(request, files[name], FOR_EVER, FRAME_POLICY if name == FRAME else POLICY)

    return router


def respond(request: Request, file: File, cache: str, policy: str) -> Response:
    """Respond with a file, compressed if the client accepts that, or with 304 if it has the file already."""
    headers = {
        "ETag": file.tag,
        "Cache-Control": cache,
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": policy,
        "X-Frame-Options": "SAMEORIGIN" if policy == FRAME_POLICY else "DENY",
        "Referrer-Policy": "no-referrer",
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.tag in known:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
