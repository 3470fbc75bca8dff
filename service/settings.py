"""Settings of the service, read from environment variables with the prefix ``CHURN_``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from churn.engines import EngineChoice

PREFIX = "CHURN_"


class Settings(BaseSettings):
    """Settings of the service. Each field is read from the environment variable ``CHURN_<FIELD IN CAPITALS>``.

    The field docstrings are the descriptions in docs/configuration.md.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, use_attribute_docstrings=True)

    models: Path = Path("models")
    """Folder of the model versions."""

    model_version: Literal["current"] | PositiveInt = "current"
    """Version to serve: a number, or "current" for the version that the file `current` in the folder names."""

    engine: EngineChoice = "auto"
    """Inference engine: onnx, tensorflow, or auto (TensorFlow if it finds a GPU, otherwise ONNX Runtime)."""

    require_gpu: bool = False
    """Fail at startup, with the devices found, unless the network runs on a GPU."""

    threads: PositiveInt = 1
    """Threads of the inference engine in each worker. One was fastest for every request size measured
    (docs/performance.md); use more workers instead to use more CPUs."""

    max_customers: PositiveInt = 10_000
    """Maximum number of customers in one JSON request; more are rejected with 413."""

    max_body_bytes: PositiveInt = 16 * 2**20
    """Maximum size in bytes of a JSON request body, and of one CSV record or Arrow batch; larger ones are rejected with
    413. A table as a whole may have any size."""

    max_pending_bytes: PositiveInt = 64 * 2**20
    """Maximum total size in bytes of the request bodies that one worker holds while they arrive or wait for a thread;
    further requests are rejected with 503 and Retry-After. Must be at least `max_body_bytes`."""

    max_held_bytes: PositiveInt = 64 * 2**20
    """Maximum total size in bytes, compressed, of the responses to tables (CSV, Arrow) that one worker holds: until all
    rows are valid, or until the client reads them. A customer takes 6 to 10 bytes; a table that needs more is rejected
    with 413."""

    keep_alive_seconds: PositiveInt = 75
    """How long an idle connection stays open, in seconds: longer than the minute that balancers keep theirs, so that
    they close first."""

    head_seconds: PositiveFloat = 20
    """Longest time from the first byte of a request's head to its last, in seconds; then the request gets a 408."""

    body_seconds: PositiveFloat = 30
    """Longest pause within a request's body, in seconds; then the request gets a 408. A body must bring 500 bytes a
    second beside."""

    send_seconds: PositiveFloat = 60
    """Longest time for which a client takes nothing of its answer, in seconds; then the connection is cut."""

    drain_seconds: NonNegativeFloat = 1.0
    """Seconds after SIGTERM in which the service still accepts requests while /health/ready returns 503, so that a load
    balancer can stop routing to it."""

    shutdown_seconds: PositiveInt = 10
    """Seconds after the drain in which requests in flight may finish before they are cut off."""

    worker_answer_seconds: Annotated[float, Field(ge=1)] = 5.0
    """Seconds without an answer from a worker's event loop after which the worker is killed and replaced; at least 1.
    Only with several workers."""

    worker_start_seconds: PositiveFloat = 120.0
    """Seconds within which a worker must become ready; otherwise it is replaced. Only with several workers."""

    access_log: bool = True
    """Log one line per request with its identifier, route, status and duration. Never logs customer data."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """Log format: json (one object per line), text, or auto (text on a terminal, otherwise json)."""

    tracing: bool = False
    """Send OpenTelemetry traces to the endpoint in `OTEL_EXPORTER_OTLP_ENDPOINT`. Needs the extra `churn[tracing]` and
    turns the fast path off."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of the messages that are logged."""

    @model_validator(mode="after")
    def _one_body_fits(self) -> "Settings":
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_pending_bytes ({self.max_pending_bytes}) must be at least max_body_bytes "
                f"({self.max_body_bytes}), or a body of that size could never be received"
            )
        return self


def find_unknown_variables(names: Iterable[str]) -> list[str]:
    """Return the variables with the prefix ``CHURN_`` that are not a setting, most likely misspelt."""
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    return sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in known)
