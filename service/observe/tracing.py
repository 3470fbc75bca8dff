"""OpenTelemetry traces: one span per request and, for `POST /predict`, one per stage. Off by default.

The exporter uses OTLP over HTTP and is configured with OpenTelemetry's own environment variables, such as
`OTEL_EXPORTER_OTLP_ENDPOINT`. Spans contain no customer data.
"""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, Any, Protocol

from churn import __version__
from churn.errors import ChurnError
from service.observe.stages import STAGES

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from starlette.types import ASGIApp

    from service.observe.stages import Stamps

EXCLUDED_URLS = "health,metrics"
"""Comma-separated patterns of URLs that are not traced: probes and scrapes."""


class Timed(Protocol):
    """A scored request."""

    @property
    def customers(self) -> int:
        """Number of customers."""

    @property
    def stamps(self) -> Stamps:
        """Times of its stages."""


class TracingError(ChurnError):
    """Tracing is enabled but not available."""


def check_tracing() -> None:
    """Check that OpenTelemetry is installed.

    Raises
    ------
    TracingError
        If it is not.
    """
    try:
        found = importlib.util.find_spec("opentelemetry.instrumentation.asgi")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise TracingError("CHURN_TRACING is on, but OpenTelemetry is not installed: pip install 'churn[tracing]'")


def make_provider() -> TracerProvider:
    """Return a provider that exports spans from a thread of its own, as configured by environment variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence over the defaults.
    configured = OTELResourceDetector().detect()
    defaults = Resource.create({"service.name": "churn", "service.version": __version__})
    provider = TracerProvider(resource=defaults.merge(configured))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Creates spans.

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
        """Return an application that creates a span for each request, as a child of the span in its headers, if any."""
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        wrapped: Any = OpenTelemetryMiddleware(
            app, excluded_urls=EXCLUDED_URLS, tracer_provider=self._provider, exclude_spans=["receive", "send"]
        )
        return wrapped  # type: ignore[no-any-return]

    def add_stages(self, scored: Timed) -> None:
        """Add the number of customers to the current span, and a child span for each stage."""
        from opentelemetry import trace

        trace.get_current_span().set_attribute("churn.customers", scored.customers)
        offset = time.time() - time.perf_counter()
        moments = [int((offset + stamp) * 1e9) for stamp in scored.stamps]
        for stage, started, ended in zip(STAGES, moments, moments[1:], strict=False):
            self._tracer.start_span(stage, start_time=started).end(ended)

    def close(self) -> None:
        """Export the remaining spans and stop."""
        self._provider.shutdown()
