"""What is observed of a response while it is sent: its status for metrics, its end for the access log."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from service.observe.access_log import REQUEST_ID
from service.observe.metrics import METHODS
from service.safe_headers import add_safe_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Send

    from service.observe.access_log import AccessLog

STATUS_DISCONNECTED = 499
"""What is counted and logged for a client that left before its response was whole."""


class ObservedResponse:
    """The ASGI `send` of one request; adds the request's identifier to the response.

    Parameters
    ----------
    send : callable
    request_id, method : str
    label : callable
        Returns the route's label, once the request has been routed.
    access : AccessLog or None
    on_begin : callable or None
        Called with label, method, status and seconds when the response begins.

    Attributes
    ----------
    has_begun : bool
    started : float
        When the request began, from `time.perf_counter`.
    caller : str
        Who has sent the request, for the access log.
    """

    def __init__(
        self,
        send: Send,
        request_id: str,
        method: str,
        label: Callable[[], str],
        access: AccessLog | None,
        on_begin: Callable[[str, str, int, float], None] | None,
    ) -> None:
        self._send = send
        self._request_id = request_id
        self._method = method
        self._label = label
        self._access = access
        self._on_begin = on_begin
        self.started = perf_counter()
        self._status = 0
        self._is_logged = False
        self.caller = "-"

    @property
    def has_begun(self) -> bool:
        """Whether the status is sent."""
        return self._status > 0

    async def __call__(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (REQUEST_ID, self._request_id.encode())]
            add_safe_fields(message["headers"])
            self._status = message["status"]
            if self._on_begin is not None:
                self._on_begin(self._label(), self._method, self._status, perf_counter() - self.started)
        else:
            if self._method == "HEAD":
                message["body"] = b""
            if not message.get("more_body"):
                self._log(self._status)
        await self._send(message)

    def end(self) -> None:
        """Log a response whose end was not sent."""
        if not self._is_logged:
            self._log(STATUS_DISCONNECTED)

    def _log(self, status: int) -> None:
        self._is_logged = True
        if self._access is not None:
            method = self._method if self._method in METHODS else "other"
            seconds = perf_counter() - self.started
            self._access.log(self._request_id, method, self._label(), status, seconds, self.caller)
