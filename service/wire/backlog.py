"""Requests that wait while a worker is busy: read from their sockets, but neither parsed nor scored.

A worker parses and scores in turns, between which it reads all sockets. It therefore knows how long each request has
been waiting, sees clients that leave, and responds to probes. What is read when the turn is over waits, and is scored
in the order of arrival. In an overload, requests are refused unparsed: those that came last, if they would wait too
long, and those that have waited too long. Both take a share of the time only, so that refusals never displace scoring;
what waits costs nothing.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from service.wire.admission import EXCESS_SHARE, LEAST_WAITING, STALE_SHARE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from service.wire.admission import Admission

TURN_SECONDS = 0.003
"""Time for parsing between two looks at the sockets. Scoring what was parsed takes about as long again."""

MAX_TURN_SECONDS = 0.006
"""The same, if everything else takes longer than that: parsing and scoring then get about half of the time."""

ROOM = 8
"""Number of requests between two looks at the clock, which would cost as much as a hundredth of scoring a request."""

ASGI_SECONDS = 0.0003
"""Time of a turn that a request to the application is charged, since it runs after the turn."""

MAX_WAITING_BYTES = 16 * 1024
"""Larger parts of requests do not wait: they would occupy memory. The application limits and refuses them."""

PROBES = (b"GET /health/", b"GET /metrics ", b"HEAD /health/", b"GET /v2/health/")
"""Beginnings of requests that never wait."""


class Waiting(Protocol):
    """A connection with a request that waits.

    Attributes
    ----------
    waiting_since : float
        When the request was read, from the backlog's clock; 0 if none waits.
    """

    waiting_since: float

    @property
    def has_ended(self) -> bool:
        """Whether the client has closed its half of the connection, and has most likely left."""

    def resume(self, waited: float) -> None:
        """Parse the request, which has been waiting for `waited` seconds."""

    def refuse_waiting(self, waited: float) -> None:
        """Refuse the request."""

    def abandon_waiting(self, waited: float) -> None:
        """Close the connection of a client that has left."""


Entry = tuple[Waiting, float]
"""A connection, and when its request was read: another time than the connection's, if the request is gone."""


class Backlog:
    """The waiting requests of a worker.

    Parameters
    ----------
    admission : Admission
    clock : callable, optional
        Returns the time in seconds; `time.perf_counter` by default.

    Attributes
    ----------
    flush : callable
        Scores what has been parsed.
    room : int
        Number of requests that need not wait, and for which `is_busy` need not be called.
    """

    def __init__(self, admission: Admission, clock: Callable[[], float] = perf_counter) -> None:
        self._admission = admission
        self._clock = clock
        self.flush: Callable[[], None] = lambda: None
        self.room = 0
        self._fresh: deque[Entry] = deque()
        self._stale: deque[Entry] = deque()  # have waited too long
        self._gone = 0  # entries whose request was taken out
        self._turn_ends = 0.0  # 0: no turn has begun
        self._busy_since = 0.0  # when the last turn began
        self._worked_until = 0.0  # when it had scored and refused what it could
        self._taken = 0  # number of requests parsed in it

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._fresh) + len(self._stale) - self._gone

    @property
    def is_overload(self) -> bool:
        """Whether so many requests wait that some may be refused."""
        return self.waiting > LEAST_WAITING

    @property
    def longest_wait(self) -> float:
        """Time in seconds after which a request that waits is refused."""
        return self._admission.longest_wait

    @property
    def most_waiting(self) -> int:
        """Number of requests that may wait."""
        return self._admission.most_waiting

    def is_busy(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether a request that has just been read must wait."""
        if self._fresh:
            return True
        now = self._clock()
        if not self._turn_ends:
            self._turn_ends = now + TURN_SECONDS
            loop.call_soon(self._end_turn, loop)
        elif now >= self._turn_ends:
            return True
        self.room = ROOM
        return False

    def charge(self, seconds: float) -> None:
        """Shorten the current turn."""
        self.room = 0
        if self._turn_ends:
            self._turn_ends -= seconds

    def add(self, connection: Waiting, waited: float = 0.0) -> None:
        """Let the request of a connection wait; it has waited for `waited` seconds before it was read."""
        connection.waiting_since = since = self._clock() - waited
        # One that was sent long before its connection was accepted is refused soon: it would be scored too late.
        queue = self._stale if waited and waited > self._admission.longest_wait / 2 else self._fresh
        queue.append((connection, since))

    def forget(self, connection: Waiting) -> float:
        """Take out the request of a connection; return for how many seconds it has been waiting."""
        waited = self._clock() - connection.waiting_since
        connection.waiting_since = 0.0
        self._gone += 1
        return waited

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Score what was parsed in the last turn; begin the next one if requests wait."""
        self.room = 0
        self.flush()
        if not self._fresh and not self._stale:
            self._turn_ends = self._busy_since = 0.0
            return
        loop.call_soon(self._end_turn, loop)  # first: an error in a request must not end the turns
        now = self._clock()
        elapsed = elsewhere = 0.0
        if self._busy_since:
            elapsed, elsewhere = now - self._busy_since, now - self._worked_until
            self._admission.measure(elapsed, self._taken)
        self._busy_since = now
        self._turn_ends = now + min(max(TURN_SECONDS, elsewhere), MAX_TURN_SECONDS)
        is_overload = self.is_overload
        if is_overload:
            # It may have arrived right after the sockets were read the last time.
            self._set_stale_apart(now + min(elapsed, self._admission.longest_wait / 2))
        self._taken = self._take(is_overload=is_overload)
        self.flush()
        scored = self._clock() - now
        self._refuse_stale(scored * STALE_SHARE if self._fresh else TURN_SECONDS)
        self._refuse_excess(scored * EXCESS_SHARE)
        self._worked_until = self._clock()

    def _set_stale_apart(self, now: float) -> None:
        fresh, stale = self._fresh, self._stale
        latest = now - self._admission.longest_wait
        while fresh and fresh[0][1] < latest:
            stale.append(fresh.popleft())

    def _take(self, *, is_overload: bool) -> int:
        """Parse requests in the order of arrival until the turn ends; return their number."""
        fresh, clock = self._fresh, self._clock
        taken = 0
        while fresh and (now := clock()) < self._turn_ends:
            connection, since = fresh.popleft()
            if connection.waiting_since != since:
                self._gone -= 1
                continue
            connection.waiting_since = 0.0
            if is_overload and connection.has_ended:
                connection.abandon_waiting(now - since)
            else:
                taken += 1
                connection.resume(now - since)
        return taken

    def _refuse_stale(self, seconds: float) -> None:
        """Refuse the requests that have waited too long, the oldest first, for a limited time."""
        self._refuse(self._stale.popleft, self._stale, len(self._stale), seconds)

    def _refuse_excess(self, seconds: float) -> None:
        """Refuse the latest requests, as far as they would wait too long, for a limited time."""
        self._refuse(self._fresh.pop, self._fresh, self._admission.count_excess(self.waiting), seconds)

    def _refuse(self, take: Callable[[], Entry], queue: deque[Entry], number: int, seconds: float) -> None:
        """Refuse up to a number of requests of a queue for a limited time; those that are gone do not count."""
        clock = self._clock
        now = clock()
        until = now + seconds
        while number > 0 and queue and now < until:
            connection, since = take()
            if connection.waiting_since != since:
                self._gone -= 1
                continue
            number -= 1
            connection.waiting_since = 0.0
            if connection.has_ended:
                connection.abandon_waiting(now - since)
            else:
                connection.refuse_waiting(now - since)
            now = clock()
