"""The audit log: who did what, and who was refused, as JSON lines without customer data and without secrets."""

from __future__ import annotations

import asyncio
import logging
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

import structlog

from service.observe.logs import make_json_formatter

if TYPE_CHECKING:
    from pathlib import Path

NAME = "churn.audit"

COLLAPSE_SECONDS = 10.0
"""Refusals with the same reason and caller are logged once in this time, then counted."""

MAX_KINDS = 50
"""Combinations of reason and caller that are told apart in this time; all others are counted together."""

OTHERS = ("others", "-")


class AuditLog:
    """Writes the audit log of a worker.

    Parameters
    ----------
    path : Path, optional
        File to append to; it may be renamed meanwhile, e.g. by logrotate. By default, the lines are in the log.

    Raises
    ------
    OSError
        If the file can't be opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        logger = logging.getLogger(NAME)
        logger.setLevel(logging.INFO)  # whatever the level of the log
        self._handler: logging.Handler | None = None
        if path is not None:
            self._handler = WatchedFileHandler(path, encoding="utf-8")
            self._handler.setFormatter(make_json_formatter())
            logger.addHandler(self._handler)
        logger.propagate = path is None
        self._logger: Any = structlog.wrap_logger(
            logger,
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        self._counts: dict[tuple[str, str], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Log what was counted, and close the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()
        if self._handler is not None:
            logger = logging.getLogger(NAME)
            logger.removeHandler(self._handler)
            logger.propagate = True
            self._handler.close()

    def record(self, event: str, **fields: object) -> None:
        """Log an event; the request's identifier and caller are added."""
        self._logger.info(event, **fields)

    def note_refused(self, reason: str, caller: str, address: str) -> None:
        """Log a refused request, or count it if one of the same kind was logged a moment ago."""
        kind = (reason, caller)
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            kind = OTHERS
        if kind in self._counts:
            self._counts[kind] += 1
            return
        self._counts[kind] = 0
        self.record("access refused", reason=kind[0], caller=kind[1], address=address)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COLLAPSE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._timer = None
        counts, self._counts = self._counts, {}
        for (reason, caller), count in counts.items():
            if count:
                self.record("access refused again", reason=reason, caller=caller, count=count)
