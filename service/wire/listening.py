"""The listening socket: bound or inherited, and filtered before it is closed, so that no connection is reset."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from contextlib import ExitStack, suppress

BACKLOG = 2048
"""Maximum number of connections that wait for a worker to accept them."""

TCP_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A peer that is silent for a minute is probed four times in the next; one that does not answer is gone."""

FIRST_INHERITED = 3
"""Number of the first descriptor that systemd passes (sd_listen_fds(3))."""

_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # of Linux; not in the socket module. The former also reads the filter.
_SYN_ONLY = (
    # Classic BPF (Linux: Documentation/networking/filter.rst); the data of a TCP socket begin with the TCP header.
    (0x30, 0, 0, 13),  # A = the byte of the flags
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # if A == SYN: a new connection
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # pass everything else
)


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket to an address, without listening.

    Raises
    ------
    OSError
        If the host is unknown, or the address is in use or not allowed.
    """
    with ExitStack() as undo:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = undo.enter_context(socket.socket(address[0], address[1]))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe_peers(listener)
        listener.bind(address[4])
        undo.pop_all()
    return listener


def inherit() -> socket.socket | None:
    """Return the listening socket that the service manager passes to this process (``LISTEN_FDS``); None without one.

    The variables are removed, so that child processes do not take them as theirs.

    Raises
    ------
    OSError
        If more than one socket is passed, or it is not a stream socket.
    """
    process, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or count in ("", "0"):
        return None
    if count != "1":
        raise OSError(0, f"the service manager passes {count} sockets; allowed: one")
    listener = socket.socket(fileno=FIRST_INHERITED)
    if listener.type != socket.SOCK_STREAM:
        raise OSError(0, "the service manager passes a socket that is not of type stream")
    os.set_inheritable(FIRST_INHERITED, False)
    probe_peers(listener)
    return listener


def probe_peers(listener: socket.socket) -> None:
    """Have the kernel probe silent connections; those that are accepted inherit it."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in TCP_PROBES.items():
        if hasattr(socket, option):  # macOS has other names for some
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def ignore_new(listener: socket.socket) -> None:
    """Let the kernel ignore new connections, while those that wait can still be accepted.

    Clients repeat their attempt after a second; by then another process may listen on the address. The filter is a
    property of the socket, and so holds in all processes that share it. Does nothing on systems other than Linux.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _SYN_ONLY)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_SYN_ONLY), ctypes.addressof(buffer))
    with suppress(OSError):  # a sandbox may forbid it: connections of the last moment are then reset
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


def admit_new(listener: socket.socket) -> None:
    """Undo `ignore_new`, if another process that shares the socket has called it."""
    if sys.platform == "linux":
        with suppress(OSError):  # there is no filter
            listener.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)


def is_ignoring_new(listener: socket.socket) -> bool:
    """Return whether the kernel ignores new connections (`ignore_new`); true on systems other than Linux."""
    if sys.platform != "linux":
        return True
    try:
        # The size is that of the buffer in bytes; the kernel compares it with the number of instructions.
        return len(listener.getsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, 8 * len(_SYN_ONLY))) > 0
    except OSError:  # a sandbox
        return True


def count_waiting(listener: socket.socket) -> int:
    """Return the number of connections that wait to be accepted; 0 on systems other than Linux."""
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    # Of a listening socket, tcpi_unacked of `struct tcp_info` is the length of this queue (Linux: net/ipv4/tcp.c).
    found: int = struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24)[0]
    return found


def describe_address(listener: socket.socket) -> str:
    """Return the URL of a bound socket."""
    address = listener.getsockname()
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{address}"
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
