"""What every problem document has (RFC 9457)."""

from __future__ import annotations

from typing import Any


def assert_problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    """Check a response for a whole problem document of a kind and return the document."""
    document: dict[str, Any] = response.json()
    assert response.status_code == status, document
    assert response.headers["content-type"] == "application/problem+json"
    assert document["type"] == f"urn:churn:{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document
