"""What can be set from outside: fields of `Settings`, read from variables with the prefix ``CHURN_``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from churn.engines import EngineChoice

PREFIX = "CHURN_"


class Settings(BaseSettings):
    """How the service runs. Each field is the environment variable ``CHURN_<FIELD IN CAPITALS>``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, use_attribute_docstrings=True)

    models: Path = Path("models")
    """Folder of the models."""

    model_version: Literal["current"] | PositiveInt = "current"
    """Version to serve: a number, or "current" for the one the folder names."""

    engine: EngineChoice = "auto"
    """What runs the network: onnx, tensorflow, or auto (TensorFlow where it sees a GPU, else ONNX Runtime)."""

    require_gpu: bool = False
    """Whether to refuse to start where the network would not run on a GPU, saying what was found instead."""

    threads: PositiveInt = 1
    """Threads of the engine in each worker. One is fastest for every size of request that was measured
    (docs/performance.md): workers use further CPUs better."""

    max_customers: PositiveInt = 10_000
    """Customers in one JSON request; more get a 413."""

    max_body_bytes: PositiveInt = 16 * 2**20
    """Size of one JSON request's body in bytes, and of a record or batch of a table, which itself may be of any size;
    more get a 413."""

    max_pending_bytes: PositiveInt = 64 * 2**20
    """Bodies held at once in one worker, in bytes, while they arrive or wait for a thread; beyond, requests get a
    503 with Retry-After. At least `max_body_bytes`."""

    max_held_bytes: PositiveInt = 64 * 2**20
    """Answers to tables (CSV, Arrow) held at once in one worker, compressed, in bytes: until every row is known to be
    good, or until the client takes them. 6 to 10 bytes a customer; a table that needs more gets a 413."""

    drain_seconds: NonNegativeFloat = 1.0
    """After SIGTERM, how long the service still accepts requests while /health/ready already says 503, so that
    a balancer can look away, in seconds."""

    shutdown_seconds: PositiveInt = 10
    """After the drain, how long requests in flight may take to finish before they are cut off, in seconds."""

    access_log: bool = True
    """Whether each request is logged: one line with its identifier, route, status and seconds, never a customer."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """How lines of the log are written: json, one object a line; text, for people; auto: text on a terminal."""

    tracing: bool = False
    """Whether OpenTelemetry traces are sent, where its own variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`). Needs the
    extra churn[tracing], and takes the fast path's place."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least grave message that is logged."""

    @model_validator(mode="after")
    def _one_body_fits(self) -> "Settings":
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_pending_bytes ({self.max_pending_bytes}) is below max_body_bytes ({self.max_body_bytes}): "
                "no body of that size could ever be received"
            )
        return self


def find_unknown_variables(names: Iterable[str]) -> list[str]:
    """Return the names with our prefix that set nothing: most likely misspelt."""
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    return sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in known)
