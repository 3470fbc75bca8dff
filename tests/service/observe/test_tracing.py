"""Traces: a span a request, stages inside it, the caller's trace carried on; nothing about a customer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from running import start

from service.observe import tracing
from service.observe.stages import STAGES
from service.serve import serve
from service.settings import Settings

pytest.importorskip("opentelemetry.instrumentation.asgi")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where the spans go."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "make_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def find_root(found: tuple[ReadableSpan, ...]) -> ReadableSpan:
    (root,) = (span for span in found if span.name.startswith("POST"))
    return root


@pytest.mark.parametrize("customers", [1, 3])
def test_a_scored_request_is_a_span_with_its_stages(
    spans: InMemorySpanExporter, bank_models: Path, customers: int
) -> None:
    body: Any = CUSTOMER if customers == 1 else {"customers": [CUSTOMER] * customers}
    with start(bank_models, tracing=True) as client:
        answer = client.post("/predict", json=body, headers=PARENT)
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == TRACE
    found = spans.get_finished_spans()
    root = find_root(found)
    assert root.name == "POST /predict"
    assert root.attributes
    assert root.attributes["churn.customers"] == customers
    assert root.parent
    assert f"{root.parent.span_id:016x}" == CALLER
    stages = [span for span in found if span is not root]
    assert [span.name for span in stages] == list(STAGES)
    for span in found:
        assert f"{span.context.trace_id:032x}" == TRACE
        assert span.start_time
        assert span.end_time
        assert root.start_time
        assert root.end_time
        # Two clocks are read for the stages.
        assert root.start_time - 1e6 <= span.start_time <= span.end_time <= root.end_time + 1e6
    for span in stages:
        assert span.parent
        assert span.parent.span_id == root.context.span_id


def test_a_refusal_is_a_span_without_stages_and_nothing_in_spans_is_about_a_customer(
    spans: InMemorySpanExporter, bank_models: Path
) -> None:
    with start(bank_models, tracing=True) as client:
        assert client.post("/predict", json=CUSTOMER | {"Geography": "Atlantis"}).status_code == 422
    found = spans.get_finished_spans()
    assert find_root(found) is found[0]
    assert len(found) == 1
    text = "".join(json.dumps(dict(span.attributes or {}), default=str) for span in found)
    assert "Atlantis" not in text
    assert all(str(value) not in text for value in CUSTOMER.values() if isinstance(value, str))


def test_health_and_metrics_make_no_spans(spans: InMemorySpanExporter, bank_models: Path) -> None:
    with start(bank_models, tracing=True) as client:
        client.get("/metrics")
    assert spans.get_finished_spans() == ()


def test_the_exporter_has_our_name_unless_the_environment_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = tracing.make_provider()
    assert provider.resource.attributes["service.name"] == "churn"
    provider.shutdown()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "churn-blue")
    provider = tracing.make_provider()
    assert provider.resource.attributes["service.name"] == "churn-blue"
    provider.shutdown()


def test_without_opentelemetry_the_service_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, bank_models: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(tracing.TracingError, match=r"pip install 'churn\[tracing\]'"):
        serve(Settings(models=bank_models, engine="onnx", tracing=True), port=0)
