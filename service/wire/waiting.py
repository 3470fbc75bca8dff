"""A connection's part in the backlog: its request waits, is parsed when it is its turn, or is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from service.wire.backlog import MAX_WAITING_BYTES
from service.wire.closing import ClosingProtocol
from service.wire.reading import ENDED, HEAD, IDLE
from service.wire.watchdog import call_after_reading

if TYPE_CHECKING:
    from service.errors import RequestProblem
    from service.wire.refusals import Traffic

GUEST_SECONDS = 2.0
"""For how long a connection beyond the limit may be silent."""


class WaitingProtocol(ClosingProtocol):
    """Protocol whose requests may wait; the connection of `Ticket` and of `Backlog`.

    Parameters
    ----------
    traffic : Traffic
        Shared by all connections of a worker.
    *arguments, **options
        Passed to `ClosingProtocol`.

    Attributes
    ----------
    waited : float
        Time in seconds for which the request that is being parsed has waited.
    waited_unread : float
        Time in seconds for which the first request has waited for the connection to be accepted.
    held : bytes
        Data that wait.
    has_ended : bool
        Whether the client has closed its half of the connection while its request waits.
    refusal : RequestProblem or None
        Why the request that is being parsed is refused; None if it is not.
    """

    def __init__(self, traffic: Traffic, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self._traffic = traffic
        self._backlog, self._refusals = traffic.backlog, traffic.refusals
        self.held = b""
        self.has_ended = False
        self.waited = self.waited_unread = 0.0
        self.refusal: RequestProblem | None = None
        self._is_guest = False
        self._descriptor = -1

    def parse(self, data: bytes) -> None:
        """Parse received data; implemented by a subclass."""
        raise NotImplementedError

    def _rest(self) -> None:
        """Wait for the next request or close, if no response is pending; implemented by a subclass."""
        raise NotImplementedError

    # Called by the transport

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection open for pending responses when the client has closed its sending half."""
        if self.waiting_since:
            self.has_ended = True
            return True
        if self.is_in_flight and (self.reading is IDLE or self.reading is HEAD):
            self.reading = ENDED
            return True  # keeps the transport open for writing
        return None

    # The client of a ticket

    @property
    def has_left(self) -> bool:
        """Whether the connection is closed."""
        return self.transport.is_closing()

    @property
    def has_sent_all(self) -> bool:
        """Whether the client has closed its half of the connection."""
        return self.reading is ENDED

    @property
    def has_due(self) -> bool:
        """Whether responses of the fast path are pending."""
        return self.fast_due > 0

    def watch(self) -> None:
        """Read on after a large body, so that a client that leaves is noticed."""
        if self.reading is IDLE and not self.pipeline:
            self.flow.resume_reading()

    def abandon(self) -> None:
        """Close the connection without a response; what is pending is dropped."""
        if self.running is not None:
            self.running.disconnect()
        self.drop_queued()
        self.close_now()

    # What waits, and how it ends

    def limit_to_probes(self) -> None:
        """Answer one probe, or refuse one request, and close: the connection is one too many."""
        self._is_guest = True
        self.refusal = self._refusals.too_many
        self.loop.call_later(GUEST_SECONDS, self._end_guest)

    def _end_guest(self) -> None:
        call_after_reading(self.loop, self._refuse_guest)

    def _refuse_guest(self) -> None:
        if not self.is_in_flight and not self.is_closing():
            self.refuse(self._refusals.too_many)

    def _hold(self, data: bytes) -> None:
        self.held += data
        if len(self.held) > MAX_WAITING_BYTES:
            self.flow.pause_reading()

    def release(self) -> bytes:
        """Return the data that have been waiting, and read on."""
        data, self.held = self.held, b""
        if len(data) > MAX_WAITING_BYTES:
            self.flow.resume_reading()
        return data

    def resume(self, waited: float) -> None:
        """Parse the request that has been waiting for `waited` seconds."""
        self.waited = waited
        try:
            self.parse(self.release())
        finally:
            self.waited = 0.0
        if self.has_ended and not self.transport.is_closing() and not self.eof_received():
            self.close_now()

    def refuse_waiting(self, waited: float) -> None:
        """Refuse what has been waiting for `waited` seconds: unparsed, if it is certain where its requests end."""
        refusals = self._refusals
        if self.running is None and not self.fast_due:
            number = refusals.heads.count_whole(self.held)
            if number and self.refuse_cheaply(waited, number):
                self.release()
                return
        self.refusal = refusals.problem
        try:
            self.resume(waited)
        finally:
            self.refusal = None

    def refuse_cheaply(self, waited: float, number: int = 1) -> bool:
        """Write prepared refusals, if the connection may stay open; return whether they were written."""
        state, transport = self.server_state, self.transport
        response = self._refusals.encode(state.default_headers)
        if not response or self._is_guest or self.has_ended or self.flow.write_paused or transport.is_closing():
            return False
        self._refusals.count(waited, number)
        state.total_requests += number
        if number > 1:
            response *= number
        if self._descriptor < 0 and (opened := transport.get_extra_info("socket")) is not None:
            self._descriptor = opened.fileno()
        written = 0
        if self._descriptor >= 0 and not transport.get_write_buffer_size():
            try:  # writing to the socket costs half as much as through the transport
                written = os.write(self._descriptor, response)
            except OSError:  # the transport finds out why
                written = 0
        if written < len(response):
            transport.write(response[written:])
        if self.timeout_keep_alive_task is None:
            self._rest()
        return True

    def abandon_waiting(self, waited: float) -> None:
        """Close the connection of a client that has left."""
        self.held = b""
        self._traffic.on_left(waited)
        self.close_now()
