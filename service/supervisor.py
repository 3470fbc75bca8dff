"""Keeps worker processes alive: replaces one that dies, and ends them together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import time
from typing import TYPE_CHECKING, Any

from prometheus_client.multiprocess import mark_process_dead

from service.observe.multiprocess import VARIABLE as MULTIPROCESS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

TICK_SECONDS = 0.1

RESTART_SECONDS = 1.0
"""A worker is started at most once in this time, so that one that can't start does not keep the machine busy."""

_log = logging.getLogger(__name__)


class _Worker:
    """One place for a process, and the process that fills it now."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._target = target
        self._arguments = arguments
        self._started = 0.0
        self.process: SpawnProcess = self._start()

    def _start(self) -> SpawnProcess:
        # Spawned, not forked: TensorFlow and thread pools do not survive a fork.
        process = multiprocessing.get_context("spawn").Process(target=self._target, args=self._arguments)
        process.start()
        self._started = time.monotonic()
        return process

    def replace_if_dead(self) -> None:
        """Fill the place again if its process has died, but not at once if it died young."""
        if self.process.is_alive() or time.monotonic() < self._started + RESTART_SECONDS:
            return
        _log.error("worker %s died with status %s; starting another", self.process.pid, self.process.exitcode)
        self.forget()
        self.process = self._start()

    def forget(self) -> None:
        """Drop the dead process's gauges; its counters stay, so that no total falls."""
        mark_process_dead(self.process.pid)  # type: ignore[no-untyped-call]


def supervise(target: Callable[..., None], arguments: tuple[Any, ...], workers: int) -> None:
    """Run `target` in several processes until SIGTERM or SIGINT, then end them in order; a second signal kills.

    Parameters
    ----------
    target : callable
        What a worker does; must be importable, and end at SIGTERM.
    arguments : tuple
        What it is called with; must be picklable.
    workers : int
    """
    signals: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: signals.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    with tempfile.TemporaryDirectory(prefix="churn-metrics-") as folder:
        os.environ[MULTIPROCESS_VARIABLE] = folder  # the workers inherit it
        try:
            places = [_Worker(target, arguments) for _ in range(workers)]
            while not signals:
                time.sleep(TICK_SECONDS)
                for place in places:
                    place.replace_if_dead()
            _end([place.process for place in places], signals)
        finally:
            del os.environ[MULTIPROCESS_VARIABLE]
            for number, handler in before.items():
                signal.signal(number, handler)


def _end(processes: list[SpawnProcess], signals: list[int]) -> None:
    for process in processes:
        process.terminate()
    killed = False
    while any(process.is_alive() for process in processes):
        if len(signals) > 1 and not killed:
            _log.warning("second signal: killing the workers")
            for process in processes:
                process.kill()
            killed = True
        time.sleep(TICK_SECONDS)
