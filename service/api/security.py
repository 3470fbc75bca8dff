"""What the OpenAPI document of a service says that requires credentials."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from service.api.openapi import describe_problems
from service.guard.scopes import ANY, OPEN, find_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the identity provider."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}

PROBLEMS = {
    401: "There are no valid credentials; WWW-Authenticate says what is required.",
    403: "The credentials do not have the scope that is named.",
    429: "The caller's rate limit is exceeded, or too many credentials were refused; retry after Retry-After.",
}

_V2_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/V2Error"}}}


def add_security(document: dict[str, Any]) -> None:
    """Add the ways to authenticate, the scope of each operation, and the responses to those who may not use it."""
    document["components"]["securitySchemes"] = deepcopy(SCHEMES)
    for path, operation in _walk(document):
        scope = find_scope({"path": path})
        if scope == OPEN:
            operation["security"] = []
            continue
        operation["security"] = [{name: []} for name in SCHEMES]
        if scope != ANY:
            words = f"Scope: {scope}."
            operation["description"] = f"{operation['description']} {words}" if "description" in operation else words
        refusals = describe_problems(PROBLEMS)
        if path.startswith("/v2"):
            refusals = {status: refusal | {"content": _V2_ERROR} for status, refusal in refusals.items()}
        operation["responses"] = operation["responses"] | refusals


def _walk(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation
