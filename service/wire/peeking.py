"""What has arrived on a connection that was accepted and is not opened yet, as the kernel tells."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from service.wire.backlog import PROBES

ESTABLISHED = 1
"""State of an open TCP connection in Linux's ``struct tcp_info``."""

_INFO = struct.Struct("=B51xI")
"""Beginning of ``struct tcp_info``: the state, and the milliseconds since data were received the last time."""

_PROBE_BYTES = max(map(len, PROBES))


class Found(NamedTuple):
    """What has arrived on a connection: the first bytes, and for how many seconds they have waited."""

    begins: bytes
    waited: float


def peek(accepted: socket.socket) -> Found | None:
    """Look at what has arrived on a connection; None if the client has closed it, or its half of it."""
    if not hasattr(socket, "TCP_INFO"):
        return Found(b"", 0.0)
    try:
        info = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        if len(info) < _INFO.size:
            return Found(b"", 0.0)
        state, milliseconds = _INFO.unpack(info)
        if state != ESTABLISHED:
            return None
        begins = accepted.recv(_PROBE_BYTES, socket.MSG_PEEK)
    except BlockingIOError:
        return Found(b"", 0.0)
    except OSError:
        return None
    return Found(begins, milliseconds / 1000)
