"""The process that writes a worker's records, seen from the worker: started, spoken to, started again if it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
from typing import TYPE_CHECKING, cast

from records.messages import Splitter, decode_report, encode
from service.keeping.options import make_environment, run_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from records.messages import Report, Start

RESTART_SECONDS = 1.0
"""A writer that ends sooner is not started again before the same time has passed."""

END_SECONDS = 3.0
"""How long the process may take to write the rest and to seal it, when the service shuts down."""

_log = logging.getLogger(__name__)


class WriterLink(asyncio.Protocol):
    """The connection to a writer process.

    Parameters
    ----------
    on_report : callable
        Called with each message of the process.
    on_end : callable
        Called when it has ended unexpectedly.
    """

    def __init__(self, on_report: Callable[[Report], None], on_end: Callable[[], None]) -> None:
        self._on_report = on_report
        self._on_end = on_end
        self._splitter = Splitter()
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._is_closing = False
        self._start = b""

    @property
    def process_id(self) -> int | None:
        """The process, if it runs."""
        return None if self._process is None else self._process.pid

    async def open(self, start: Start, inherited: Sequence[int] = ()) -> None:
        """Start the process, which inherits file descriptors, and tell it what it needs to know."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            # A session of its own, as it outlives its worker for a moment, e.g. after Ctrl-C.
            self._process = subprocess.Popen(  # noqa: S603  our own code; starting it takes a millisecond
                [*run_records("writer"), str(theirs.fileno())],
                pass_fds=[theirs.fileno(), *inherited],
                stdin=subprocess.DEVNULL,
                env=make_environment(),
                start_new_session=True,
            )
        self._start = encode(start)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)

    def send(self, data: bytes) -> None:
        """Send encoded messages."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def kill(self) -> None:
        """Kill the process, which is then noticed as its end."""
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """Let the process write what it has received, and wait for its end."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, END_SECONDS)
            except subprocess.TimeoutExpired:
                _log.warning("the writer of records is still busy; it exits when it has written everything it received")

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and say first what the process needs to know."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._start)

    def data_received(self, data: bytes) -> None:
        """Pass on reports."""
        for message in self._splitter.feed(data):
            self._on_report(decode_report(message))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Notice the end of the process."""
        if self._is_closing:
            return
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # it has closed the connection, so it has ended or is ending
            _log.error("the writer of records ended with status %s; restarting it", self._process.returncode)
            self._process = None
        self._on_end()
