"""What the applications respond with when a route raises an exception."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.api.admin import respond_to_invalid_request
from service.errors import respond_to_failure, respond_to_http_exception

EXCEPTION_HANDLERS: dict[Any, Any] = {
    HTTPException: respond_to_http_exception,
    RequestValidationError: respond_to_invalid_request,
    Exception: respond_to_failure,
}
