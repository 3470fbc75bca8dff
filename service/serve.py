"""Runs the service in processes that share the listening socket, until it is shut down."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from errno import EADDRINUSE
from multiprocessing import get_context
from typing import TYPE_CHECKING

from churn.devices import describe_devices, require_gpu
from churn.errors import ChurnError
from churn.runtime.cpus import count_cpus
from churn.runtime.imports import block_imports
from churn.runtime.private_folder import private_folder
from service import handover
from service.guard.protection import describe_protection, require_protection
from service.handover import ServedSocket
from service.keeping.options import check_records
from service.memory import freeze_heap
from service.observe.audit import AuditLog
from service.observe.logs import set_up_logging
from service.observe.multiprocess import share_metrics
from service.observe.tracing import check_tracing
from service.renewal import renew
from service.rollout.coordinator import Coordinator
from service.rollout.staging import open_staging
from service.server import work
from service.supervisor import SPARE_PLACES, Supervisor
from service.wire.listening import bind, describe_address, inherit
from service.wire.spread import CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.management.server import ManagementServer
    from service.rollout.messages import Lineup
    from service.settings import Settings

_log = logging.getLogger(__name__)


class ServeError(ChurnError):
    """The service can't be started, e.g. because the port is in use."""


@block_imports()
def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    take_over: bool = False,
    reread: Callable[[], Settings] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    After the first signal, /health/ready returns 503 while requests are still accepted for ``settings.drain_seconds``.
    Then the requests in flight finish and the function returns. A second signal stops the service immediately. SIGHUP
    restarts the workers one after the other, with the model that is then current and the settings from `reread`.

    Parameters
    ----------
    settings : Settings
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 takes a free one, which the log names.
    workers : int
        Number of processes, each with the model in memory.
    take_over : bool
        Whether to take over the socket of a service that already listens on the address, which then drains and exits.
    reread : callable, optional
        Reads the settings again. By default they do not change.

    Raises
    ------
    BundleError, RegistryError
        If there is no model to serve, or its files have changed.
    KeysFileError, JwksError
        If a file of keys has faults.
    ProtectionError
        If others than this machine can connect, no authentication is configured, and `CHURN_AUTH` is not "none".
    EngineError
        If a GPU is required and there is none.
    ServeError
        If the address can't be bound.
    RecordsError
        If the store of records can't be used, and answers may not leave without records or it never can.
    SupervisorError
        If workers repeatedly fail to start.
    OSError
        If the file of the audit log can't be opened.
    TracingError
        If traces are enabled and OpenTelemetry is not installed.
    """
    set_up_logging(settings)
    if settings.tracing:
        check_tracing()
    _log.info("devices: %s", describe_devices(count_cpus()))
    if settings.require_gpu:
        require_gpu(settings.engine)
    check_records(settings)
    AuditLog(settings.audit_log).close()  # a file that can't be written to is an error here, not one of each worker
    with open_staging(settings.models) as staging:
        coordinator = Coordinator(settings, staging, settings.worker_start_seconds)
        with closing(coordinator):
            lineup = coordinator.open()
            opened = _open_socket(host, port, take_over=take_over)
            with closing(opened):
                require_protection(settings, opened.listener.getsockname())
                _log.log(*describe_protection(settings))
                _log.info(
                    "serving model %d on %s, workers: %d, engine threads in each: %d",
                    lineup.champion.version,
                    describe_address(opened.listener),
                    workers,
                    settings.threads,
                )
                _supervise(settings, coordinator, opened, workers, reread, (host, take_over))
    _log.info("the service has stopped")


def _supervise(
    settings: Settings,
    coordinator: Coordinator,
    opened: ServedSocket,
    workers: int,
    reread: Callable[[], Settings] | None,
    managed: tuple[str, bool],
) -> None:
    counts = get_context("spawn").RawArray("q", [CLOSED] * (workers + SPARE_PLACES))
    with share_metrics(), private_folder("churn-limits-") as folder, ExitStack() as stack:
        buckets = folder / "buckets"
        shared = opened.listener, opened.is_inherited, counts, buckets
        supervisor = Supervisor(
            work,
            (settings, *shared),
            workers,
            answer_seconds=settings.worker_answer_seconds,
            start_seconds=settings.worker_start_seconds,
            drain_seconds=settings.drain_seconds,
            counts=counts,
            conductor=coordinator,
            listener=opened,
            renew=None if reread is None else lambda: (renew(settings, reread()), *shared),
        )
        if settings.management_port is not None:
            status = _Status(supervisor, coordinator)
            management = _open_management(settings, status, coordinator, buckets, *managed)
            stack.callback(management.close)
            opened.on_taken_over = management.close
            management.start()
            freeze_heap()  # health checks and metrics must not wait for a collection
        supervisor.run()


def _open_management(
    settings: Settings, status: _Status, coordinator: Coordinator, buckets: Path, host: str, take_over: bool
) -> ManagementServer:
    from service.management.app import ManagementApp  # FastAPI takes 30 MB
    from service.management.requests import ManagementRequests
    from service.management.server import ManagementServer
    from service.observe.prometheus_internals import name_metrics_of

    name_metrics_of("management")  # this process has no others
    app = ManagementApp(settings, status, ManagementRequests(coordinator.wish), buckets)
    try:
        return ManagementServer(app, settings, host, waits=take_over)
    except OSError as error:
        address = f"{settings.management_host or host}:{settings.management_port}"
        raise ServeError(f"the management port {address} can't be bound: {error.strerror}") from error


class _Status:
    """What the management port shows of the service."""

    def __init__(self, supervisor: Supervisor, coordinator: Coordinator) -> None:
        self._supervisor = supervisor
        self._coordinator = coordinator

    @property
    def lineup(self) -> Lineup | None:
        return self._coordinator.lineup

    @property
    def reason(self) -> str:
        return self._supervisor.fault

    @property
    def ready_version(self) -> str | None:
        lineup = self._coordinator.lineup
        return None if lineup is None or self._supervisor.fault else str(lineup.champion.version)


def _open_socket(host: str, port: int, *, take_over: bool) -> ServedSocket:
    """Return the socket of the service manager, of the service to take over from, or a new one."""
    try:
        if (inherited := inherit()) is not None:
            return ServedSocket(inherited, is_inherited=True)
        if take_over and (taken := handover.take_over(host, port)) is not None:
            return taken
        return ServedSocket(bind(host, port))
    except OSError as error:
        hint = "; to replace a running churn serve without a gap, add --take-over" if error.errno == EADDRINUSE else ""
        raise ServeError(f"{host}:{port} can't be bound: {error.strerror}{hint}") from error
