"""Runs the service in one process, or in several that share the listening socket, until it is shut down."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import uvicorn

from churn.devices import describe_devices, require_gpu
from churn.errors import ChurnError
from churn.runtime.cpus import count_cpus
from churn.runtime.imports import block_imports
from service.memory import return_large_blocks
from service.observe.logs import set_up_logging
from service.observe.tracing import check_tracing
from service.rollout.coordinator import Coordinator
from service.rollout.staging import open_staging, remove_staging
from service.supervisor import Supervisor
from service.wire.uvicorn_internals import TickingServer
from service.worker import SupervisorPipe, connect_supervisor

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import FrameType

    from service.app import ChurnService
    from service.rollout.messages import Lineup
    from service.settings import Settings

FAREWELL_SECONDS = 0.5
"""How long the connections of requests that were cancelled at the end may take to close."""

TCP_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A peer that is silent for a minute is probed four times in the next; one that does not answer is gone."""

_log = logging.getLogger(__name__)


class ServeError(ChurnError):
    """The service can't be started, e.g. because the port is in use."""


@block_imports()
def serve(settings: Settings, *, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT.

    After the first signal, /health/ready returns 503 while requests are still accepted for ``settings.drain_seconds``.
    Then the requests in flight finish and the function returns. A second signal stops the service immediately. SIGHUP
    restarts several workers one after the other, with the model that is then current.

    Parameters
    ----------
    settings : Settings
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 takes a free one, which the log names.
    workers : int
        Number of processes, each with the model in memory.

    Raises
    ------
    BundleError, RegistryError
        If there is no model to serve, or its files have changed.
    EngineError
        If a GPU is required and there is none.
    ServeError
        If the address can't be bound.
    SupervisorError
        If workers repeatedly fail to start.
    TracingError
        If traces are enabled and OpenTelemetry is not installed.
    """
    set_up_logging(settings)
    if settings.tracing:
        check_tracing()
    _log.info("devices: %s", describe_devices(count_cpus()))
    if settings.require_gpu:
        require_gpu(settings.engine)
    with open_staging(settings.models) as staging:
        coordinator = Coordinator(settings, staging, settings.worker_start_seconds)
        lineup = coordinator.open()
        listener = _listen(host, port)
        _log.info(
            "serving model %d on http://%s:%d, workers: %d, engine threads in each: %d",
            lineup.champion.version,
            host,
            listener.getsockname()[1],
            workers,
            settings.threads,
        )
        if workers == 1:
            coordinator.close()
            _run(settings, listener)
        else:
            with closing(coordinator):
                Supervisor(
                    _work,
                    (settings, listener),
                    workers,
                    answer_seconds=settings.worker_answer_seconds,
                    start_seconds=settings.worker_start_seconds,
                    conductor=coordinator,
                ).run()
    _log.info("the service has stopped")


class Server(TickingServer):
    """uvicorn's server with a drain phase before the shutdown, and a connection to its supervisor, if there is one.

    Parameters
    ----------
    config : uvicorn.Config
    app : ChurnService
    drain_seconds : float
    supervisor : SupervisorPipe or None
    lineup : Lineup or None
        The models to load, if there is a supervisor.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: ChurnService,
        drain_seconds: float,
        supervisor: SupervisorPipe | None = None,
        lineup: Lineup | None = None,
    ) -> None:
        super().__init__(config, app.overload, app.max_connections)
        self._app = app
        self._drain_seconds = drain_seconds
        self._supervisor = supervisor
        self._lineup = lineup
        self._drain_until = float("inf")

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
        elif self._app.alone is not None:
            loop.add_signal_handler(signal.SIGHUP, self._app.alone.look_again)
        await super().serve(sockets)

    def describe_phase(self) -> str:
        """Return the phase of the model, followed by a space and the reason if it is not "ready"."""
        state = self._app.model_state
        return f"{state.phase} {state.reason}"

    def receive(self, message: bytes) -> None:
        """Handle a message about the models."""
        self._app.models.receive(message)

    def retire(self) -> None:
        """Stop accepting connections, drain and exit; other workers accept them, so the readiness does not change."""
        self.stop_accepting()
        self._drain_until = time.monotonic() + self._drain_seconds

    def end_orphaned(self) -> None:
        """Drain and exit, unless the drain has begun."""
        if self._drain_until == float("inf"):
            _log.warning("the supervisor has ended; shutting down")
            self.handle_exit(signal.SIGTERM, None)

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
        """Update metrics and advance the shutdown."""
        if self._drain_until < float("inf"):
            self._app.metrics.set_ready(ready=False)
            # Ask clients with open connections to close them after their next response.
            if self.announce_close():
                _log.info("shutting down: draining for %g s", self._drain_seconds)
            self.should_exit = time.monotonic() >= self._drain_until
        if is_new_second:  # for scrapes that another worker responds to
            self._app.metrics.process.update()
            self._app.overload.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is in flight; give clients whose requests were cancelled a moment to read why."""
        await super().shutdown(sockets)
        until = time.monotonic() + FAREWELL_SECONDS
        while self.has_connections and time.monotonic() < until:
            await asyncio.sleep(0.05)


def _run(
    settings: Settings,
    listener: socket.socket,
    supervisor: SupervisorPipe | None = None,
    lineup: Lineup | None = None,
) -> None:
    """Serve in this process."""
    from service.app import create_app

    return_large_blocks()
    app: Any = create_app(settings, is_alone=supervisor is None)
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
    Server(config, app, settings.drain_seconds, supervisor, lineup).run([listener])


@block_imports()
def _work(settings: Settings, listener: socket.socket, lineup: Lineup, pipe: Connection) -> None:
    """Run a worker process."""
    set_up_logging(settings)
    with connect_supervisor(pipe) as supervisor:
        try:
            _run(settings, listener, supervisor, lineup)
        finally:
            if supervisor.is_orphaned:
                remove_staging(lineup.champion)


def _notice_dead_peers(listener: socket.socket) -> None:
    """Have the kernel probe silent connections; those that are accepted inherit it."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in TCP_PROBES.items():
        if hasattr(socket, option):  # macOS has other names for some
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _listen(host: str, port: int) -> socket.socket:
    with ExitStack() as undo:
        try:
            address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            listener = undo.enter_context(socket.socket(address[0], address[1]))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _notice_dead_peers(listener)
            listener.bind(address[4])
        except OSError as error:
            raise ServeError(f"{host}:{port} can't be bound: {error.strerror}") from error
        undo.pop_all()
    return listener
