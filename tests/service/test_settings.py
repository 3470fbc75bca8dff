"""Every setting with every kind of wrong value: a line that says which variable, what it was and what is allowed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Annotated, Any

import pytest
from bank import REPOSITORY
from pydantic import Field, SecretStr

from service import settings as module
from service.settings import PREFIX, Settings, SettingsError, find_unknown_variables, read_settings

WRONG = ["nonsense", "-1", "nan", "inf", "1e400", "yes please", "[]", "0x10", "ü"]

ALLOWED = {
    "model_version": "current or a whole number, above 0",
    "engine": "auto, onnx, tensorflow",
    "require_gpu": "true or false",
    "threads": "a whole number, above 0 and at most 1024",
    "max_customers": "a whole number, above 0",
    "drain_seconds": "a number, at least 0 and at most 86400",
    "log_format": "auto, json, text",
    "log_level": "debug, info, warning, error",
}

TEXTS = {"records", "records_spill", "models", "trusted_keys", "management_host", "api_keys", "audit_log"}
TEXTS |= {"jwks", "jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_scope_prefix"}
"""Settings that take any text or path."""

FIELDS = [name for name in Settings.model_fields if name not in TEXTS]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", FIELDS)
def test_a_wrong_value_is_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"{PREFIX}{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        read_settings()
    message = str(error.value)
    assert message.startswith(f"{variable}={value!r} can't be used; allowed: ")
    assert "\n" not in message
    assert message.endswith(ALLOWED.get(name, ""))
    assert "pydantic" not in message


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", "")
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("log_level", "INFO", "info"),
        ("log_level", " Warning\r", "warning"),
        ("log_format", "JSON", "json"),
        ("engine", "Onnx", "onnx"),
        ("model_version", "CURRENT", "current"),
        ("model_version", "3", 3),
        ("access_log", "OFF", False),
        ("tracing", "True", True),
        ("threads", " 2 ", 2),
        ("drain_seconds", "0", 0),
    ],
)
def test_words_are_read_in_any_case(name: str, value: str, read: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
    assert getattr(read_settings(), name) == read


def test_several_wrong_values_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_THREADS", "two")
    monkeypatch.setenv("CHURN_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError) as error:
        read_settings()
    assert [line.partition("=")[0] for line in str(error.value).splitlines()] == ["CHURN_THREADS", "CHURN_LOG_LEVEL"]


def test_settings_that_contradict_each_other_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_MAX_PENDING_BYTES", "1")
    with pytest.raises(
        SettingsError, match=r"^CHURN_MAX_PENDING_BYTES \(1\) must be at least CHURN_MAX_BODY_BYTES \(16777216\)"
    ):
        read_settings()


TOKENS = {"CHURN_JWKS": "keys.json", "CHURN_JWT_ISSUER": "https://idp.bank", "CHURN_JWT_AUDIENCE": "churn"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"CHURN_JWT_ISSUER": ""}, "CHURN_JWKS needs CHURN_JWT_ISSUER and CHURN_JWT_AUDIENCE"),
        ({"CHURN_JWT_AUDIENCE": ""}, "CHURN_JWKS needs CHURN_JWT_ISSUER and CHURN_JWT_AUDIENCE"),
        ({"CHURN_JWT_ALGORITHMS": "RS256,none"}, "CHURN_JWT_ALGORITHMS has 'none'; allowed: RS256, "),
        ({"CHURN_JWT_ALGORITHMS": "HS256"}, "CHURN_JWT_ALGORITHMS has 'HS256'; allowed: RS256, "),
        ({"CHURN_JWKS": "http://idp.bank/keys"}, "allowed: a path, an https URL"),
        ({"CHURN_JWKS": "file:///etc/keys"}, "allowed: a path, an https URL"),
        ({"CHURN_AUTH": "none"}, "CHURN_AUTH=none can't be used with CHURN_API_KEYS or CHURN_JWKS"),
    ],
)
def test_settings_of_tokens_must_be_whole_and_safe(
    changes: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (TOKENS | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        read_settings()
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("location", ["https://idp.bank/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys"])
def test_keys_of_the_provider_come_over_a_safe_way(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TOKENS | {"CHURN_JWKS": location}).items():
        monkeypatch.setenv(name, value)
    assert read_settings().jwks == location


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(Settings):
        operator: Annotated[SecretStr, Field(min_length=20)] = SecretStr("x" * 20)
        api_token: Annotated[str, Field(min_length=20)] = "x" * 20
        store: Annotated[str, Field(pattern="^postgresql:")] = "postgresql://host"

    monkeypatch.setattr(module, "Settings", Guarded)
    module._rules.cache_clear()
    for name, value in (("OPERATOR", "hunter2"), ("API_TOKEN", "hunter2"), ("STORE", "mysql://me:hunter2@host/db")):
        monkeypatch.setenv(f"CHURN_{name}", value)
    with pytest.raises(SettingsError) as error:
        read_settings()
    module._rules.cache_clear()
    assert "hunter2" not in str(error.value)
    assert "CHURN_OPERATOR=***" in str(error.value)
    assert "CHURN_STORE='mysql://***@host/db'" in str(error.value)


def test_variables_of_other_commands_are_known() -> None:
    assert find_unknown_variables(["CHURN_SQL_URL", "CHURN_LOGLEVEL", "HOME"]) == ["CHURN_LOGLEVEL"]


@pytest.mark.parametrize(
    ("command", "variable", "says"),
    [
        (["-m", "cli", "serve"], {"CHURN_LOG_LEVEL": "loud"}, r"error: CHURN_LOG_LEVEL='loud' can't be used; .*error"),
        (["-m", "cli", "serve"], {"CHURN_ENGINE": "gpu"}, r"error: CHURN_ENGINE='gpu' can't be used; .*tensorflow"),
        (
            ["-m", "uvicorn", "--port", "0", "--factory", "service.app:create_app"],
            {"CHURN_THREADS": "two"},
            r"error: CHURN_THREADS='two' can't be used; allowed: .*",
        ),
    ],
)
def test_the_service_ends_with_that_line(command: list[str], variable: dict[str, Any], says: str) -> None:
    code = "from cli.main import main; main()"
    called = ["-c", code, *command[2:]] if command[1] == "cli" else command
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", **variable}  # noqa: S108
    options: Any = {"capture_output": True, "text": True, "timeout": 120, "check": False, "cwd": REPOSITORY}
    ended = subprocess.run([sys.executable, *called], env=environment, **options)  # noqa: S603  our own code
    assert ended.returncode in (1, 2)
    assert re.fullmatch(says, ended.stderr.strip())
    assert ended.stdout == ""
