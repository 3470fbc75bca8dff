"""OpenTelemetry traces: a span a request and, for `POST /predict`, a span for each stage in it. Off by default.

The exporter speaks OTLP over HTTP and reads OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and so on).
Nothing about a customer is in a span.
"""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, Any

from churn import __version__
from churn.errors import ChurnError
from service.observe.stages import STAGES, ScoredLone

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from starlette.types import ASGIApp

    from service.observe.stages import ScoredBatch

QUIET = "health,metrics"
"""What is asked every few seconds, by those who watch the service, is not traced."""


class TracingError(ChurnError):
    """Tracing is asked for and can't be had."""


def check_tracing() -> None:
    """Refuse where OpenTelemetry is missing.

    Raises
    ------
    TracingError
    """
    try:
        found = importlib.util.find_spec("opentelemetry.instrumentation.asgi")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise TracingError("CHURN_TRACING is on, and OpenTelemetry is not installed; install churn[tracing]")


def make_provider() -> TracerProvider:
    """Return what sends spans where OpenTelemetry's variables say, in a thread of its own."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes before these.
    named = OTELResourceDetector().detect()
    ours = Resource.create({"service.name": "churn", "service.version": __version__})
    provider = TracerProvider(resource=ours.merge(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Makes spans.

    Raises
    ------
    TracingError
        If OpenTelemetry is not installed.
    """

    def __init__(self) -> None:
        check_tracing()
        self._provider = make_provider()
        self._tracer = self._provider.get_tracer("service", __version__)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return an application that makes a span of each request, a child of the caller's if it sent one."""
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        wrapped: Any = OpenTelemetryMiddleware(
            app, excluded_urls=QUIET, tracer_provider=self._provider, exclude_spans=["receive", "send"]
        )
        return wrapped  # type: ignore[no-any-return]

    def add_stages(self, scored: ScoredLone | ScoredBatch) -> None:
        """Add to the current span how many customers were scored, and a span for each stage of it."""
        from opentelemetry import trace

        trace.get_current_span().set_attribute(
            "churn.customers", 1 if isinstance(scored, ScoredLone) else len(scored.raw)
        )
        offset = time.time() - time.perf_counter()
        moments = [int((offset + stamp) * 1e9) for stamp in scored.stamps]
        for stage, started, ended in zip(STAGES, moments, moments[1:], strict=False):
            self._tracer.start_span(stage, start_time=started).end(ended)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
