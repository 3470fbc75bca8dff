"""How the service logs: one JSON object a line for machines, text on a terminal; every library's lines alike."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from service.settings import Settings


def choose_form(settings: Settings) -> Literal["json", "text"]:
    """Resolve ``auto``: text on a terminal, else JSON."""
    if settings.log_format != "auto":
        return settings.log_format
    return "text" if sys.stderr.isatty() else "json"


def set_up_logging(settings: Settings) -> None:
    """Write what is logged anywhere in this process to standard error, in the form the settings say.

    Tracebacks are without local variables, which hold customers.
    """
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.CallsiteParameterAdder([structlog.processors.CallsiteParameter.PROCESS]),
    ]
    if choose_form(settings) == "json":
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        last: list[Any] = [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def bind_request_id(request_id: str) -> None:
    """Add a request's identifier to whatever its task logs."""
    structlog.contextvars.bind_contextvars(request_id=request_id)
