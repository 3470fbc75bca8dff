"""Logging configuration: JSON lines, or text on a terminal, also for the messages of libraries."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from service.settings import Settings


def choose_format(settings: Settings) -> Literal["json", "text"]:
    """Return the configured log format; "auto" is text on a terminal and JSON otherwise."""
    if settings.log_format != "auto":
        return settings.log_format
    return "text" if sys.stderr.isatty() else "json"


def set_up_logging(settings: Settings) -> None:
    """Configure the root logger of this process to write to standard error.

    Tracebacks contain no local variables, since these may hold customer data.
    """
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.CallsiteParameterAdder([structlog.processors.CallsiteParameter.PROCESS]),
    ]
    if choose_format(settings) == "json":
        formatter = make_json_formatter(before)
    else:
        plain = structlog.dev.plain_traceback
        formatter = _make_formatter(
            before, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def make_json_formatter(before: list[Any] | None = None) -> logging.Formatter:
    """Return a formatter that writes one JSON object per message; `before` are the processors of foreign messages."""
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    renderers = structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()
    return _make_formatter(before, *renderers)


def _make_formatter(before: list[Any] | None, *last: Any) -> logging.Formatter:  # noqa: ANN401  processors
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )


def bind_caller(name: str) -> None:
    """Add the caller's name to all messages that are logged in the current task."""
    structlog.contextvars.bind_contextvars(caller=name)


def bind_request_id(request_id: str) -> None:
    """Add the request identifier to all messages that are logged in the current task."""
    structlog.contextvars.bind_contextvars(request_id=request_id)
