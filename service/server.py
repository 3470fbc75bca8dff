"""A worker process: uvicorn's server with a drain phase, and a connection to the supervisor."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from churn.runtime.imports import block_imports
from service.memory import return_large_blocks
from service.observe.logs import set_up_logging
from service.observe.prometheus_internals import name_metrics_of
from service.rollout.staging import remove_staging
from service.wire.spread import CLOSED, Spread
from service.wire.uvicorn_internals import TickingServer
from service.worker import SupervisorPipe, connect_supervisor

if TYPE_CHECKING:
    import socket
    from collections.abc import MutableSequence
    from multiprocessing.connection import Connection
    from pathlib import Path
    from types import FrameType

    from service.app import ChurnService
    from service.rollout.messages import Lineup
    from service.settings import Settings

SETTLE_SECONDS = 0.2
"""For how long handshakes may go on after the drain, when the kernel ignores new connections."""

MAX_SETTLE_SECONDS = 3.0
"""For how long connections are accepted after the drain if some still wait, or the kernel does not ignore new ones."""

TICK_SECONDS = 0.1

FAREWELL_SECONDS = 0.5
"""How long the connections of requests that were cancelled at the end may take to close."""

_log = logging.getLogger(__name__)


class Server(TickingServer):
    """uvicorn's server with a drain phase before the shutdown, and a connection to its supervisor, if there is one.

    Parameters
    ----------
    config : uvicorn.Config
    app : ChurnService
    drain_seconds : float
    supervisor : SupervisorPipe, optional
        None for a server without a supervisor.
    lineup : Lineup, optional
        The models to load, if there is a supervisor.
    spread : Spread, optional
        Numbers of connections of the workers; by default there is one worker.
    stall_seconds : float
        Time without progress of the scoring thread after which this worker has failed.
    is_inherited : bool
        Whether a service manager holds the listening socket open.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: ChurnService,
        drain_seconds: float,
        supervisor: SupervisorPipe | None = None,
        lineup: Lineup | None = None,
        spread: Spread | None = None,
        *,
        stall_seconds: float = float("inf"),
        is_inherited: bool = False,
    ) -> None:
        super().__init__(config, app.overload, spread or Spread([CLOSED], 0), app.max_connections)
        self._app = app
        self._drain_seconds = drain_seconds
        self._supervisor = supervisor
        self._lineup = lineup
        self._stall_seconds = stall_seconds
        self._is_inherited = is_inherited
        self._may_accept = asyncio.Event()
        self._drain_until = float("inf")
        self._is_retiring = self._is_orphaned = False
        self._settled_since = float("inf")
        self._ticked = time.monotonic()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until shut down."""
        loop = asyncio.get_running_loop()
        if self._supervisor is not None and self._lineup is not None:
            supervisor = self._supervisor
            supervisor.attach(loop, self)
            self._app.model_state.on_loaded = lambda: supervisor.report(self.describe_phase())
            self._app.models.send = supervisor.send
            await self._app.models.start(self._lineup)  # before it accepts connections, which other workers can serve
            if self._app.model_state.phase == "failed":
                return
            await self._may_accept.wait()
            if self._drain_until < float("inf"):
                return
        await super().serve(sockets)

    def describe_phase(self) -> str:
        """Return the phase of the model, followed by a space and the reason if it is not "ready"."""
        state = self._app.model_state
        if self._app.processor.progress.stalled_seconds > self._stall_seconds:
            return f"failed the scoring thread made no progress for {self._stall_seconds:g} s"
        return f"{state.phase} {state.reason}"

    def receive(self, message: bytes) -> None:
        """Handle a message about the models."""
        self._app.models.receive(message)

    def accept(self) -> None:
        """Accept connections from now on."""
        self._may_accept.set()

    def retire(self) -> None:
        """Stop accepting connections, drain and exit; others accept them, so the readiness does not change."""
        self._is_retiring = True
        self._may_accept.set()
        self.stop_accepting()
        self._drain_until = time.monotonic() + self._drain_seconds

    def end_orphaned(self) -> None:
        """Drain and exit, unless the drain has begun."""
        if self._drain_until == float("inf"):
            _log.warning("the supervisor has ended; shutting down")
            self._is_orphaned = True
            self.handle_exit(signal.SIGTERM, None)
            self._may_accept.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  a signal handler's signature
        """Begin the drain at the first signal; terminate at the second.

        A signal handler must not take locks, since the interrupted code may hold them, so this only assigns. The signal
        is not recorded for uvicorn to raise it again, so that the process exits with status 0.
        """
        if sig == signal.SIGINT and self._supervisor is not None:
            return  # a terminal sends Ctrl-C to all processes; the supervisor handles it
        if self._drain_until < float("inf"):
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._app.model_state.drain()
        self._drain_until = time.monotonic() + self._drain_seconds

    def tick(self, *, is_new_second: bool) -> None:
        """Update metrics, watch the scoring thread and advance the shutdown."""
        now = time.monotonic()
        # As in the supervisor: the time in which this process did not run does not count.
        self._app.processor.progress.watch(min(now - self._ticked, 2 * TICK_SECONDS))
        self._ticked = now
        if self._supervisor is not None and (phase := self.describe_phase()).startswith("failed the"):
            self._supervisor.report(phase)
        if self._drain_until < float("inf"):
            self._app.metrics.set_ready(ready=False)
            # Ask clients with open connections to close them after their next response.
            if self.announce_close():
                _log.info("shutting down: draining for %g s", self._drain_seconds)
            self.should_exit = self._is_drained(now)
        elif is_new_second:
            self.admit_new()  # a service that shared the socket, and was killed, may have left it filtered
        if is_new_second:  # for scrapes that another worker responds to
            self._app.metrics.process.update()
            self._app.overload.flush()

    def _is_drained(self, now: float) -> bool:
        """Return whether no connection can arrive any more, or another process accepts it."""
        past = now - self._drain_until
        if self._is_retiring or past < 0:
            return past >= 0
        if self._is_inherited:
            return True
        if self._supervisor is None or self._is_orphaned:
            self.ignore_new()  # otherwise, the supervisor does
        if self.is_ignoring_new and not self.count_waiting():
            self._settled_since = min(self._settled_since, now)
        return past > MAX_SETTLE_SECONDS or now > self._settled_since + SETTLE_SECONDS

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is in flight; give clients whose requests were cancelled a moment to read why."""
        await super().shutdown(sockets)
        until = time.monotonic() + FAREWELL_SECONDS
        while self.count_connections() and time.monotonic() < until:
            await asyncio.sleep(0.05)


@block_imports()
def work(
    settings: Settings,
    listener: socket.socket,
    is_inherited: bool,
    counts: MutableSequence[int],
    buckets: Path,
    lineup: Lineup,
    place: int,
    pipe: Connection,
) -> None:
    """Run a worker process."""
    set_up_logging(settings)
    with connect_supervisor(pipe) as supervisor:
        try:
            name_metrics_of(place)
            return_large_blocks()
            spread = Spread(counts, place)
            server = _make_server(settings, buckets, supervisor, lineup, spread, is_inherited=is_inherited)
            server.run([listener])
        finally:
            if supervisor.is_orphaned:
                remove_staging(lineup.champion)
                shutil.rmtree(buckets.parent, ignore_errors=True)


def _make_server(
    settings: Settings,
    buckets: Path,
    supervisor: SupervisorPipe,
    lineup: Lineup,
    spread: Spread,
    *,
    is_inherited: bool,
) -> Server:
    from service.app import create_app

    app: Any = create_app(settings, is_alone=False, buckets=buckets)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # ours writes the lines, of both ways
        http=app.protocol,
        ws="none",
        lifespan="on",
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    return Server(
        config,
        app,
        settings.drain_seconds,
        supervisor,
        lineup,
        spread,
        stall_seconds=settings.worker_answer_seconds,
        is_inherited=is_inherited,
    )
