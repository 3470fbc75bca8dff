"""Refuse requests without parsing them.

Where a request ends is not guessed: it is known from an earlier request with the same head, byte for byte, which the
parser has parsed. All other requests are parsed, and then refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from service.errors import MEDIA_TYPE, RequestProblem
from service.safe_headers import SAFE_FIELDS
from service.wire.uvicorn_internals import CLOSE, STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.wire.backlog import Backlog

    Headers = list[tuple[bytes, bytes]]

MAX_HEADS = 512
MAX_HEAD_BYTES = 1024

_END = b"\r\n\r\n"


class KnownHeads:
    """Heads of requests after which the connection stays open, with the length of the body that follows.

    Parameters
    ----------
    start : bytes
        Beginning of all these heads: method and path, followed by a space.
    """

    def __init__(self, start: bytes) -> None:
        self._start = start
        self._lengths: dict[bytes, int] = {}

    def learn(self, data: bytes, body_bytes: int) -> None:
        """Remember the head of a request.

        Parameters
        ----------
        data : bytes
            Received between two requests; the parser has found exactly one whole request in it.
        body_bytes : int
            Length of its body, as the parser found it.
        """
        end = data.find(_END, 0, MAX_HEAD_BYTES) + len(_END)
        # If the parser's body is all that follows the first empty line, the head is all that precedes it.
        if end >= len(_END) and len(data) - end == body_bytes and data.startswith(self._start):
            if len(self._lengths) >= MAX_HEADS:  # of clients whose heads are never the same
                self._lengths.clear()
            self._lengths[data[:end]] = body_bytes

    def count_whole(self, data: bytes) -> int:
        """Return how many whole requests with known heads the data are; 0 if they are anything else."""
        begin = number = 0
        while True:
            end = data.find(_END, begin, begin + MAX_HEAD_BYTES) + len(_END)
            length = self._lengths.get(data[begin:end])
            if length is None:
                return 0
            begin = end + length
            number += 1
            if begin >= len(data):
                return number if begin == len(data) else 0


class Refusals:
    """Responses to requests that are refused unparsed, and their count.

    Parameters
    ----------
    longest_wait : float
        See `Admission`.
    start : bytes
        See `KnownHeads`.
    on_refused : callable
        Called with the problem's kind, and a list of the times in seconds for which requests waited, when that is no
        longer empty. It grows until it is cleared: a call for each request would cost a tenth of refusing it.

    Attributes
    ----------
    heads : KnownHeads
    problem : RequestProblem
        Why requests that wait are refused.
    too_many : RequestProblem
        Why requests on connections beyond the limit are refused.
    """

    def __init__(self, longest_wait: float, start: bytes, on_refused: Callable[[str, list[float]], None]) -> None:
        self.heads = KnownHeads(start)
        self.problem = RequestProblem.queue_full(longest_wait)
        self.too_many = RequestProblem.too_many_connections()
        self._on_refused = on_refused
        self._waits: list[float] = []
        self._default: Headers | None = None
        self._response = b""

    def encode(self, default: Headers) -> bytes:
        """Return the response, after which the connection stays open; empty if it may not.

        Parameters
        ----------
        default : list of (bytes, bytes)
            The server's default headers: a new list when they change.
        """
        if default is not self._default:
            self._default = default
            self._response = b"" if CLOSE in default else self._build(default)
        return self._response

    def count(self, waited: float, number: int) -> None:
        """Count requests that were refused together after waiting for `waited` seconds."""
        waits = self._waits
        if not waits:
            self._on_refused(self.problem.kind, waits)
        if number == 1:
            waits.append(waited)
        else:
            waits += [waited] * number

    def _build(self, default: Headers) -> bytes:
        body = self.problem.encode()
        fields = [*default, *SAFE_FIELDS, (b"content-type", MEDIA_TYPE.encode())]
        fields += [(name.lower().encode(), value.encode()) for name, value in self.problem.headers.items()]
        fields.append((b"content-length", b"%d" % len(body)))
        return STATUS_LINE[self.problem.status] + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n" + body


class Traffic(NamedTuple):
    """What the connections of a worker share.

    Attributes
    ----------
    backlog : Backlog
    refusals : Refusals
    on_left : callable
        Called with the time in seconds for which a request waited whose client left before it was scored.
    """

    backlog: Backlog
    refusals: Refusals
    on_left: Callable[[float], None]
