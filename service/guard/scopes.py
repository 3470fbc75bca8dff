"""What a request must be allowed to do, by its path: everything needs a credential that is not named here as open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN: Final = "open"
"""Needs no credential."""

ANY: Final = ""
"""Needs a credential with any scope: what is there is nobody else's business, nor that there is nothing."""

OPEN_PATHS = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
"""Probes of load balancers and orchestrators, which have no credentials."""

PAGE_PATHS = frozenset({"/docs", "/openapi.json"})
"""Describe the API to people who do not have a key yet; ``CHURN_DOCS=false`` removes them."""

PAGE_FILES = "/docs-static/"
"""Beginning of the paths of the page's files; none of them is in a folder."""

CONSOLE = "/"
CONSOLE_FILES = "/console/"
"""The page for people, which asks for a key itself, and the beginning of the paths of its files. They have no data;
``CHURN_CONSOLE=false`` removes them."""

SCOPES = {
    "predict": "predict",
    "model": "predict",
    "counterfactuals": "predict",
    "sensitivity": "predict",
    "v2": "predict",
    "metrics": "metrics",
    "performance": "metrics",
    "admin": "admin",
    "records": "records",
}
"""Scopes by the first part of the path."""


def find_scope(scope: Mapping[str, Any]) -> str:
    """Return the scope that an ASGI request needs, `OPEN` or `ANY`.

    The path is the one that is routed: unquoted, and without the prefix that a proxy adds (``root_path``).
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    if path in OPEN_PATHS or path in PAGE_PATHS or path == CONSOLE or path.startswith(CONSOLE_FILES):
        return OPEN
    if path.startswith(PAGE_FILES) and "/" not in path[len(PAGE_FILES) :]:
        return OPEN
    return SCOPES.get(path.split("/", 2)[1] if path.startswith("/") else path, ANY)
