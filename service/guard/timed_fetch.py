"""Fetch a small document over HTTP within a time and a size that count for the whole answer.

The timeout of `urllib` is one for each read: a server that sends a byte now and then could hold a thread for ever, in
the head as in the body, or between them with interim answers.
"""

from __future__ import annotations

import io
import urllib.request
from functools import partial
from http.client import HTTPResponse
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer


def fetch(url: str, seconds: float, most_bytes: int) -> bytes:
    """Return the body of the answer to a GET request. Redirects are not followed: they could lead away from HTTPS.

    Parameters
    ----------
    url : str
        An http or https URL.
    seconds : float
        Maximum time for connecting, for the handshake of TLS, and for the answer: until its last byte.
    most_bytes : int
        Maximum size of the answer with its head.

    Raises
    ------
    OSError, ValueError, http.client.HTTPException
        If there is no such answer, or its status is not a success.
    """
    opener = urllib.request.build_opener(_NoRedirect, _Http(seconds, most_bytes), _Https(seconds, most_bytes))
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  only the two handlers
    with opener.open(request, timeout=seconds) as response:
        body: bytes = response.read()
    return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


class _Limited(urllib.request.AbstractHTTPHandler):
    def __init__(self, seconds: float, most_bytes: int) -> None:
        super().__init__()
        self._limits = seconds, most_bytes

    def do_open(self, http_class: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  as urllib calls it
        def connect(*given: Any, **more: Any) -> Any:  # noqa: ANN401
            connection = http_class(*given, **more)
            connection.response_class = partial(_Response, *self._limits)
            return connection

        return super().do_open(connect, *arguments, **options)


class _Http(_Limited, urllib.request.HTTPHandler):
    pass


class _Https(_Limited, urllib.request.HTTPSHandler):
    pass


class _Response(HTTPResponse):
    def __init__(self, seconds: float, most_bytes: int, sock: socket.socket, *given: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *given, **more)
        self.fp = io.BufferedReader(_Reader(sock, self.fp, seconds, most_bytes))


class _Reader(io.RawIOBase):
    """Reads an answer from its socket, up to a point in time and a number of bytes."""

    def __init__(self, sock: socket.socket, file: io.BufferedReader, seconds: float, most_bytes: int) -> None:
        self._socket, self._file = sock, file
        self._seconds, self._ends = seconds, monotonic() + seconds
        self._most, self._left = most_bytes, most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        late = TimeoutError(f"the answer did not arrive within {self._seconds:g} s")
        if (remaining := self._ends - monotonic()) <= 0:
            raise late
        self._socket.settimeout(remaining)
        try:
            count: int = self._file.raw.readinto(memoryview(buffer)) or 0
        except TimeoutError:
            raise late from None
        self._left -= count
        if self._left < 0:
            raise OSError(f"the answer has more than {self._most} bytes")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
