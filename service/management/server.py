"""The server of the management port: a thread of the supervisor with an event loop of its own."""

from __future__ import annotations

import logging
import threading
import time
from errno import EADDRINUSE
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from churn.errors import ChurnError
from service.errors import RequestProblem, encode_closing
from service.guard.protection import require_protection
from service.observe.access_log import REQUEST_ID, find_request_id
from service.wire.admission import Admission
from service.wire.backlog import Backlog
from service.wire.connection import Connection
from service.wire.listening import bind, describe_address
from service.wire.reading import Limits
from service.wire.refusals import Refusals, Traffic
from service.wire.spread import CLOSED, Spread
from service.wire.uvicorn_internals import TickingServer

if TYPE_CHECKING:
    import socket

    from service.errors import Problem
    from service.management.app import ManagementApp
    from service.observe.rejections import Rejections
    from service.settings import Settings

MAX_CONNECTIONS = 64
"""Maximum number of connections; there are few clients: probes, Prometheus, administrators."""

RETRY_SECONDS = 0.05
"""Interval at which the port of a service that hands over is tried again."""

_log = logging.getLogger(__name__)


class _Policy:
    """Connections are only limited in number: nothing here takes long."""

    is_overload = False

    def __init__(self, longest_wait: float, rejections: Rejections) -> None:
        self.longest_wait = longest_wait
        self._rejections = rejections
        self._problem = RequestProblem.too_many_connections()
        self._too_many = encode_closing(self._problem)

    def refuse_connection(self) -> bytes:
        self._rejections.count(self._problem)
        return self._too_many

    def refuse_late(self, seconds: float) -> bytes:  # noqa: ARG002
        return self.refuse_connection()

    def count_left(self, seconds: float) -> None:
        pass


class ManagementServer:
    """Serves an application on the management port until it is closed.

    Parameters
    ----------
    app : ManagementApp
    settings : Settings
    host : str
        Address to listen on, unless ``CHURN_MANAGEMENT_HOST`` names one.
    waits : bool
        Whether another service that is about to be replaced may still have the port.

    Raises
    ------
    OSError
        If the port can't be bound; with `waits`, not if it is in use.
    ProtectionError
        If others than this machine can connect, and requests need no credential.
    """

    def __init__(self, app: ManagementApp, settings: Settings, host: str, *, waits: bool) -> None:
        self._address = settings.management_host or host, int(settings.management_port or 0)
        self._settings = settings
        self._listener: socket.socket | None = None
        try:
            self._bind()
        except OSError as error:
            if not waits or error.errno != EADDRINUSE:
                raise
        self._server = _make_server(app, settings)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="management", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and wait for the thread to end."""
        self._closing.set()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        if self._listener is not None:
            self._listener.close()

    def _bind(self) -> socket.socket:
        bound = bind(*self._address)
        try:
            require_protection(self._settings, bound.getsockname())
        except ChurnError:
            bound.close()
            raise
        self._listener = bound
        return bound

    def _run(self) -> None:
        while self._listener is None:
            try:
                self._bind()
            except ChurnError as error:
                _log.error("the management port is not available: %s", error)
                return
            except OSError:  # still in use
                time.sleep(RETRY_SECONDS)
            if self._closing.is_set():
                return
        _log.info("health checks, metrics and administration on %s", describe_address(self._listener))
        try:
            self._server.run([self._listener])
        except Exception:  # noqa: BLE001  a thread has no caller
            _log.exception("the management port has failed")


def _make_server(app: ManagementApp, settings: Settings) -> TickingServer:
    rejections = app.rejections
    policy = _Policy(settings.queue_seconds, rejections)
    refusals = Refusals(settings.queue_seconds, b"", lambda kind, _: rejections.count_unparsed(kind))
    traffic = Traffic(Backlog(Admission(settings.queue_seconds)), refusals, policy.count_left)
    protocol: Any = partial(Connection, traffic, Limits.of(settings), partial(_note_refusal, rejections))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=protocol,
        ws="none",
        lifespan="on",
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=1,
    )
    return TickingServer(config, policy, Spread([CLOSED], 0), MAX_CONNECTIONS)


def _note_refusal(rejections: Rejections, problem: Problem) -> tuple[bytes, bytes]:
    """Count a request that can't be parsed; return a header for its response."""
    rejections.count(problem)
    return REQUEST_ID, find_request_id({}).encode()
