"""Settings of the service, read from environment variables with the prefix ``CHURN_``."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from churn.engines import EngineChoice
from churn.errors import ChurnError

PREFIX = "CHURN_"

ELSEWHERE = frozenset({"CHURN_ENV_FILE", "CHURN_SIGN_KEY", "CHURN_SQL_URL", "CHURN_SQL_TARGET_URL"})
"""Variables with our prefix that the command line reads, and the service does not."""

JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""All of them have a public key. There is none with a shared secret, which a public key could be used as."""

MAX_CUSTOMERS = 10_000
DAY = 86_400
MAX_THREADS = 1024

_SECRET_NAME = re.compile(r"(?i)secret|token|password|(^|_)keys?$")
_STORE = re.compile(r"(sqlite:///|postgres(ql)?(\+psycopg)?://).")
_CREDENTIALS = re.compile(r"//[^/@]*@")
_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "nothing"}
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}


class SettingsError(ChurnError):
    """A setting that can't be used: each has a line with the variable, its value and what is allowed."""


class Settings(BaseSettings):
    """Settings of the service. Each field is read from the environment variable ``CHURN_<FIELD IN CAPITALS>``.

    An empty variable is unset. The field docstrings are the descriptions in docs/configuration.md.

    `read_settings` reads them and explains what is wrong with one.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    models: Path = Path("models")
    """Folder of the model versions."""

    trusted_keys: Path | None = None
    """File with Ed25519 public keys (PEM), or folder of such files, one of which must have signed every model version
    that is read (churn models sign). Read again for each version; None: no signature is needed."""

    model_version: Literal["current"] | PositiveInt = "current"
    """Version to serve: a number, or "current" for the version that the file `current` in the folder names."""

    shadow_version: PositiveInt | None = None
    """Version that scores the same customers for comparison (GET /model/shadow); its answers are not returned."""

    canary_version: PositiveInt | None = None
    """Version that scores a share of the customers, chosen by their identifier, instead of the served one."""

    canary_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the customers that CHURN_CANARY_VERSION scores."""

    admin: bool = False
    """Enable the routes below /admin, which change the served models. Callers need the scope admin; without
    authentication, everybody who can connect may use them."""

    auth: Literal["auto", "none"] = "auto"
    """Authentication: auto requires the API keys or tokens that are configured, and without any of them serves this
    machine only; none serves everybody, for a service that something else protects (docs/authentication.md)."""

    api_keys: Path | None = None
    """File of the API keys, which `churn keys` writes. It is read again when it changes."""

    jwks: str | None = None
    """Public keys of the identity provider whose tokens are accepted: path of a file, or an https URL."""

    jwt_issuer: str | None = None
    """Issuer (iss) that tokens must have; required with CHURN_JWKS."""

    jwt_audience: str | None = None
    """Audience (aud) that tokens must have; required with CHURN_JWKS."""

    jwt_algorithms: str = "RS256,PS256,ES256,EdDSA"
    """Algorithms that tokens may be signed with, separated by commas: RS256, RS384, RS512, PS256, PS384, PS512, ES256,
    ES384, ES512, EdDSA."""

    jwt_leeway_seconds: Annotated[float, Field(ge=0, le=300)] = 30.0
    """Seconds by which the clocks of this machine and of the identity provider may differ."""

    jwt_scope_prefix: str = "churn:"
    """What precedes predict, metrics, admin and records in the scopes (scope, scp) of tokens."""

    requests_per_second: PositiveFloat | None = None
    """Requests a second of each caller, on this machine, unless its API key has its own limit; more are rejected with
    429. A second's worth may come at once."""

    customers_per_second: PositiveFloat | None = None
    """Customers a second of each caller, in the same way. A request passes if the customers before it are within the
    limit; tables are slowed down to it."""

    audit_log: Path | None = None
    """File for the audit log, one JSON object per line: admin actions, refused credentials, changes of keys. By default
    these lines are in the log."""

    records: str | None = None
    """Store of records of every scored customer, as an SQLAlchemy URL: sqlite:////data/records.db or
    postgresql://user@host/database. By default nothing is recorded (docs/records.md)."""

    records_mode: Literal["behind", "durable"] = "behind"
    """What an answer waits for: behind waits for nothing, and puts records into files that are loaded into the store;
    durable answers only after the record is committed, and with 503 if it can't be."""

    records_lag: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Seconds of records that may be lost in mode behind if the machine fails. A kill of the service loses those of a
    twentieth of a second, or of a fifth of the lag if that is less."""

    records_spill: Path | None = None
    """Folder for records that are not in the store yet, in mode behind. By default beside the file of SQLite, otherwise
    one for the database in the folder for temporary files."""

    records_spill_bytes: NonNegativeInt = 2**30
    """Maximum size in bytes of these files, of one worker; further records are lost, which the log and
    churn_records_total say."""

    docs: bool = True
    """Serve /docs and /openapi.json, to everybody who can connect."""

    metrics: bool = True
    """Serve /metrics."""

    console: bool = True
    """Serve the page for people at / (docs/console.md), to everybody who can connect; it asks for a key if there are
    any."""

    v2: bool = True
    """Serve the Open Inference Protocol, below /v2."""

    management_port: Annotated[int, Field(gt=0, le=65535)] | None = None
    """Port of its own for /health, /metrics and /admin, which are answered there by a process that does not score.
    /metrics and /admin are then not served on the port of the service."""

    management_host: str | None = None
    """Address of the management port; by default that of the service."""

    engine: EngineChoice = "auto"
    """Inference engine: onnx, tensorflow, or auto (TensorFlow if it finds a GPU, otherwise ONNX Runtime)."""

    require_gpu: bool = False
    """Fail at startup, with the devices found, unless the network runs on a GPU."""

    threads: Annotated[int, Field(gt=0, le=MAX_THREADS)] = 1
    """Threads of the inference engine in each worker. One was fastest for every request size measured
    (docs/performance.md); use more workers instead to use more CPUs."""

    max_customers: PositiveInt = MAX_CUSTOMERS
    """Maximum number of customers in one JSON request; more are rejected with 413."""

    max_reasoned: PositiveInt = 1000
    """Maximum number of customers in one request with reasons; more are rejected with 413. The default takes 2 to 3
    seconds with a network of the size of the included one."""

    max_body_bytes: PositiveInt = 16 * 2**20
    """Maximum size in bytes of a JSON request body, as it is sent and decompressed, and of an Arrow batch; larger ones
    are rejected with 413. A table as a whole may have any size."""

    max_admin_bytes: PositiveInt = 4096
    """Maximum size in bytes of a request body below /admin and /records; larger ones are rejected with 413. The largest
    that makes sense has a version and a share, or an identifier; they are held and decoded as a whole."""

    max_json_bytes: PositiveInt = 4 * 2**20
    """Maximum size in bytes of JSON that is decoded as a whole; more is rejected with 413. Customers are decoded in
    parts of 256 KiB. Decoding holds the interpreter, so it delays all other requests; 4 MiB take up to 0.05 s."""

    max_json_values: PositiveInt = 250_000
    """Maximum number of values in JSON that is decoded as a whole; more are rejected with 413. Counted before it is
    decoded, as commas, opening brackets and backslashes. Each value takes up to 130 bytes of memory and 0.2 µs."""

    max_json_depth: PositiveInt = 32
    """Maximum depth of lists and objects in JSON; deeper ones are rejected with 413. Requests need 6."""

    max_record_bytes: PositiveInt = 2**20
    """Maximum number of bytes of a CSV that may arrive without the end of a record (row); more are rejected with 413.
    They are held, and looked through again whenever more arrives."""

    max_columns: PositiveInt = 2000
    """Maximum number of columns of a table (CSV, Arrow); more are rejected with 413. Each one is an object in every
    block, whether it is read or not."""

    max_cell_bytes: PositiveInt = 4096
    """Maximum length in bytes of a text in a column that the model reads, or of an identifier, in a table; longer ones
    are rejected with 413. Many rows of an Arrow table may share a text, which their answers repeat."""

    max_pending_bytes: PositiveInt = 64 * 2**20
    """Maximum total size in bytes of the request bodies that one worker holds while they arrive or wait for a thread;
    further requests are rejected with 503 and Retry-After. Must be at least CHURN_MAX_BODY_BYTES."""

    max_held_bytes: PositiveInt = 64 * 2**20
    """Maximum total size in bytes of the responses to tables (CSV, Arrow) that one worker holds: until all rows are
    valid, or until the client reads them. Once a quarter of it is used, responses are compressed to 6 to 10 bytes per
    customer; a table that needs more is rejected with 413."""

    max_spilled_bytes: NonNegativeInt = 2**30
    """Maximum total size in bytes, compressed, of the responses to tables that one worker holds in temporary files when
    CHURN_MAX_HELD_BYTES are in memory; 0 keeps responses off the disk."""

    keep_alive_seconds: PositiveInt = 75
    """Seconds for which an idle connection stays open. Longer than the 60 s of most load balancers, so that they close
    first."""

    head_seconds: PositiveFloat = 20
    """Maximum seconds for receiving the head of a request; then it is rejected with 408."""

    body_seconds: PositiveFloat = 30
    """Maximum seconds between two parts of a request body; then the request is rejected with 408. The body must also
    arrive at 500 bytes per second or more."""

    send_seconds: PositiveFloat = 60
    """Maximum seconds in which a client reads nothing of a response; then the connection is closed."""

    max_head_bytes: PositiveInt = 64 * 1024
    """Maximum size in bytes of the head of a request, and of the chunk extensions or trailers in a row; larger ones are
    rejected with 431. A head is held until it is complete, without a reservation of CHURN_MAX_PENDING_BYTES."""

    max_url_bytes: PositiveInt = 8 * 1024
    """Maximum length in bytes of the target of a request (path and query); longer ones are rejected with 414. The
    routes need less than 200; RFC 9110 recommends 8,000 for servers in general."""

    max_field_bytes: PositiveInt = 16 * 1024
    """Maximum length in bytes of the value of a header; longer ones are rejected with 431. Tokens with many groups take
    some 10,000."""

    max_head_fields: PositiveInt = 100
    """Maximum number of headers; more are rejected with 431. Browsers and proxies send up to 40, and each one takes 130
    bytes besides its own."""

    max_pipelined: PositiveInt = 100
    """Maximum number of requests of a connection that wait for their responses; the connection of a client that sends
    more is closed after these responses, with a 429. Each one takes some 8 kB, and they are parsed without a pause."""

    max_unread_bytes: PositiveInt = 64 * 1024
    """Size in bytes of the responses that wait for a client to read them, above which nothing more is read from its
    connection."""

    max_connections: Literal["auto"] | PositiveInt = "auto"
    """Maximum number of connections of one worker; on further ones, only health checks and metrics are answered, and
    other requests are rejected with 503. "auto", and the maximum: as many as the limit of open files (ulimit -n)
    allows."""

    queue_seconds: Annotated[float, Field(gt=0, le=60)] = 0.2
    """Longest time in seconds for which a request waits when more arrive than can be scored; others are rejected with
    503 and Retry-After. Should be well below the timeout of the clients."""

    request_timeout: Annotated[float, Field(gt=0, le=DAY)] = 30.0
    """Seconds after which a request with JSON or tensors that has been received is no longer scored, but rejected with
    504. A client sets a shorter time with the header X-Request-Timeout (seconds), a proxy with
    X-Envoy-Expected-Rq-Timeout-Ms."""

    drain_seconds: Annotated[float, Field(ge=0, le=DAY)] = 1.0
    """Seconds after SIGTERM in which the service still accepts requests while /health/ready returns 503, so that a load
    balancer can stop routing to it."""

    shutdown_seconds: Annotated[int, Field(gt=0, le=DAY)] = 10
    """Seconds after the drain in which requests in flight may finish before they are cut off."""

    worker_answer_seconds: Annotated[float, Field(ge=1)] = 5.0
    """Seconds after which a worker is killed and replaced: without an answer from its event loop, or with its scoring
    thread working on the same JSON body or block of a table; at least 1."""

    worker_start_seconds: PositiveFloat = 120.0
    """Seconds within which a worker must become ready; otherwise it is replaced."""

    access_log: bool = True
    """Log one line per request with its identifier, route, status and duration. Never logs customer data."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """Log format: json (one object per line), text, or auto (text on a terminal, otherwise json)."""

    tracing: bool = False
    """Send OpenTelemetry traces to the endpoint in `OTEL_EXPORTER_OTLP_ENDPOINT`. Needs the extra `churn[tracing]` and
    turns the fast path off."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of the messages that are logged."""

    @property
    def change_seconds(self) -> float:
        """Maximum time for a change of the models: loading has a limit of its own, and may wait for another change."""
        return 2 * self.worker_start_seconds

    @field_validator("*", mode="before")
    @classmethod
    def _read_words(cls, value: object, info: ValidationInfo) -> object:
        """Take words in any case, and values with blanks at their ends."""
        rule = _rules()[str(info.field_name)]
        kinds = (rule, *rule.get("anyOf", ()))
        if not isinstance(value, str) or any(kind.get("format") == "path" for kind in kinds):
            return value
        word = value.strip()
        return word.lower() if word.lower() in _find_words(rule) else word

    @property
    def allowed_algorithms(self) -> list[str]:
        """The algorithms that tokens may be signed with."""
        return [name.strip() for name in self.jwt_algorithms.split(",")]

    @model_validator(mode="after")
    def _authentication_is_whole(self) -> "Settings":
        if self.auth == "none" and (self.api_keys is not None or self.jwks is not None):
            raise ValueError("CHURN_AUTH=none can't be used with CHURN_API_KEYS or CHURN_JWKS; remove one of them")
        if self.jwks is None:
            return self
        if not self.jwt_issuer or not self.jwt_audience:
            raise ValueError("CHURN_JWKS needs CHURN_JWT_ISSUER and CHURN_JWT_AUDIENCE, which its tokens must have")
        if unknown := [name for name in self.allowed_algorithms if name not in JWT_ALGORITHMS]:
            raise ValueError(f"CHURN_JWT_ALGORITHMS has {unknown[0]!r}; allowed: {', '.join(JWT_ALGORITHMS)}")
        if "://" in self.jwks and not _is_safe_url(self.jwks):
            raise ValueError("CHURN_JWKS can't be used; allowed: a path, an https URL, or an http URL of this machine")
        return self

    @model_validator(mode="after")
    def _records_have_a_store(self) -> "Settings":
        # The text is not repeated, because it may contain a password.
        if self.records is not None and not _STORE.match(self.records):
            raise ValueError(
                "CHURN_RECORDS can't be used; allowed: sqlite:/// and a path, or postgresql://user@host/database"
            )
        return self

    @model_validator(mode="after")
    def _one_body_fits(self) -> "Settings":
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                f"CHURN_MAX_PENDING_BYTES ({self.max_pending_bytes}) must be at least CHURN_MAX_BODY_BYTES "
                f"({self.max_body_bytes}), or a body of that size could never be received"
            )
        return self


def _is_safe_url(text: str) -> bool:
    """Return whether keys may be requested from a URL: with HTTPS, or from this machine."""
    url = urlsplit(text)
    is_here = url.hostname in ("127.0.0.1", "localhost", "::1")
    return bool(url.hostname) and (url.scheme == "https" or (url.scheme == "http" and is_here))


def read_settings(**given: Any) -> Settings:  # noqa: ANN401  fields of Settings
    """Read the settings from the environment.

    Parameters
    ----------
    **given
        Fields of `Settings` that go before the environment.

    Raises
    ------
    SettingsError
        If a value can't be used.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = dict.fromkeys(
            _explain(str(fault["loc"][0]), fault["input"]) if fault["loc"] else str(fault["ctx"]["error"])
            for fault in error.errors()
        )
        raise SettingsError("\n".join(lines)) from None
    except UnreadableError as error:
        raise SettingsError(str(error)) from None


def _explain(name: str, value: object) -> str:
    rule = _rules().get(name, {})
    is_secret = rule.get("format") == "password" or _SECRET_NAME.search(name)
    shown = "***" if is_secret else _CREDENTIALS.sub("//***@", repr(str(value)))
    return f"{PREFIX}{name.upper()}={shown} can't be used; allowed: {_describe(rule)}"


@cache
def _rules() -> Mapping[str, Mapping[str, Any]]:
    """Return what each field accepts, as JSON Schema says it."""
    rules: Mapping[str, Mapping[str, Any]] = Settings.model_json_schema()["properties"]
    return rules


def _describe(rule: Mapping[str, Any]) -> str:
    """Return what a field accepts, in words."""
    if "anyOf" in rule:
        return " or ".join(map(_describe, rule["anyOf"]))
    if words := _find_words(rule):
        return ", ".join(words)
    bounds = [words.format(rule[bound]) for bound, words in _BOUNDS.items() if bound in rule]
    kind = "a path" if rule.get("format") == "path" else _KINDS.get(rule.get("type", ""), "a text")
    return ", ".join([kind, " and ".join(bounds)]) if bounds else kind


def _find_words(rule: Mapping[str, Any]) -> list[str]:
    """Return the words a field accepts, if it accepts words."""
    words = [word for other in rule.get("anyOf", ()) for word in _find_words(other)]
    return words + list(rule.get("enum", ())) + ([rule["const"]] if "const" in rule else [])


def find_unknown_variables(names: Iterable[str]) -> list[str]:
    """Return the variables with the prefix ``CHURN_`` that are not a setting, most likely misspelt."""
    known = {PREFIX + field.upper() for field in Settings.model_fields} | ELSEWHERE
    return sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in known)
