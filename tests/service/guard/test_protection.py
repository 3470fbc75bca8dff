"""Which protection is in force, and where it is required."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from keyed import AUDIENCE, ISSUER, Provider, add_key
from running import start

from service.app import create_app
from service.guard.protection import (
    ProtectionError,
    describe_protection,
    is_local,
    refuse_other_sites,
    require_protection,
)
from service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("127.0.0.1", 8000), True),
        (("127.8.9.1", 8000), True),
        (("::1", 8000, 0, 0), True),
        (("::ffff:127.0.0.1", 8000, 0, 0), True),
        (("/run/churn.sock"), True),
        (b"\0abstract", True),
        (("testserver", 80), True),
        (None, True),
        ((EVERYWHERE, 8000), False),
        (("::", 8000, 0, 0), False),
        (("10.0.0.1", 8000), False),
        (("::ffff:10.0.0.1", 8000, 0, 0), False),
        (("fe80::1%eth0", 8000, 0, 2), False),
    ],
)
def test_only_this_machine_can_connect_to_a_loopback_address_or_a_unix_socket(address: Any, expected: bool) -> None:
    assert is_local(address) is expected


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        ({"Host": "127.0.0.1:8000"}, True),
        ({"Host": "[::1]:8000"}, True),
        ({"Host": "[::1]"}, True),
        ({"Host": "localhost"}, True),
        ({"Host": "churn.localhost:80"}, True),
        ({"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"}, True),
        ({"Host": "LocalHost:8000", "Origin": "http://localhost:8000"}, True),
        ({"Host": "evil.example:8000"}, False),  # a name of a page's own, which leads to this machine
        ({"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, False),
        ({"Host": "evil.localhost.example"}, False),
        ({"Host": "127.0.0.1.evil.example"}, False),
        ({"Host": "127.0.0.1:8000", "Origin": "https://evil.example"}, False),
        ({"Host": "127.0.0.1:8000", "Origin": "http://wiki"}, False),
        ({"Host": "127.0.0.1:8000", "Origin": "http://10.0.0.1:8000"}, False),
        ({"Host": "127.0.0.1:8000", "Origin": "http://localhost.evil.example:8000"}, False),
        ({"Host": "127.0.0.1:8000", "Origin": "http://localhost:9000"}, True),  # of a proxy on this machine
        ({"Host": "127.0.0.1:8000", "Origin": "http://[::1]:9000"}, True),
        ({"Host": "127.0.0.1:8000", "Origin": "null"}, False),
    ],
)
def test_pages_of_other_sites_can_not_use_a_service_without_keys(
    bank_models: Path, headers: dict[str, str], *, is_answered: bool
) -> None:
    scope = {"path": "/admin/models", "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()]}
    assert (refuse_other_sites(scope) is None) is is_answered
    for path in ("/records", "/admin/models/1/promote"):
        assert (refuse_other_sites({**scope, "path": path}) is None) is is_answered
    for path in ("/metrics", "/health/live", "/model", "/"):
        assert refuse_other_sites({**scope, "path": path}) is None
    with start(bank_models, admin=True) as client:
        answer = client.get("/admin/models", headers=headers)
        assert answer.status_code == (200 if is_answered else 403)
        assert is_answered or answer.json()["type"] == "urn:churn:unprotected"


def test_pages_of_other_sites_are_a_matter_of_the_proxy_or_of_the_keys(bank_models: Path, tmp_path: Path) -> None:
    headers = {"Host": "churn.bank.example", "Origin": "https://churn.bank.example"}
    with start(bank_models, admin=True, auth="none") as client:
        assert client.get("/admin/models", headers=headers).status_code == 200
    key = add_key(tmp_path / "keys.json", "ops", ["admin"])
    with start(bank_models, admin=True, api_keys=tmp_path / "keys.json") as client:
        assert client.get("/admin/models", headers=headers | {"X-API-Key": key}).status_code == 200


def test_others_may_connect_only_if_somebody_said_so(tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "crm")
    everywhere = (EVERYWHERE, 8000)
    require_protection(Settings(), ("127.0.0.1", 8000))
    require_protection(Settings(auth="none"), everywhere)
    require_protection(Settings(api_keys=tmp_path / "keys.json"), everywhere)
    require_protection(Settings(jwks="k", jwt_issuer=ISSUER, jwt_audience=AUDIENCE), everywhere)
    with pytest.raises(ProtectionError) as error:
        require_protection(Settings(), everywhere)
    for name in ("CHURN_API_KEYS", "CHURN_JWKS", "CHURN_AUTH=none"):
        assert name in str(error.value)


def test_the_address_of_an_inherited_socket_counts() -> None:
    with socket.create_server((EVERYWHERE, 0)) as listener, pytest.raises(ProtectionError):
        require_protection(Settings(), listener.getsockname())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        require_protection(Settings(), listener.getsockname())


def test_the_log_says_what_is_in_force(tmp_path: Path) -> None:
    keys, jwks = tmp_path / "keys.json", tmp_path / "jwks.json"
    add_key(keys, "crm")
    add_key(keys, "old", lifetime=-1)
    Provider("ES256").publish(jwks)
    tokens: dict[str, Any] = {"jwks": str(jwks), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    assert describe_protection(Settings()) == (
        logging.INFO,
        "authentication: off, since only this machine can connect",
    )
    assert describe_protection(Settings(auth="none"))[0] == logging.WARNING
    level, words = describe_protection(Settings(api_keys=keys, **tokens))
    assert level == logging.INFO
    assert words == f"authentication: API keys from {keys} (2, 1 of them expired) and tokens of {ISSUER} for {AUDIENCE}"


def ask(app: Any, server: tuple[str, int] | None) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/model", "headers": [], "query_string": b""}
    scope["server"] = server
    asyncio.run(app(scope, receive, send))
    status: int = sent[0]["status"]
    return status


def test_a_service_that_another_server_runs_is_for_this_machine_only(bank_models: Path) -> None:
    app = create_app(Settings(models=bank_models, access_log=False))
    assert ask(app, ("127.0.0.1", 80)) == 503  # no model is loaded
    assert ask(app, ("10.0.0.1", 80)) == 403
    assert ask(create_app(Settings(models=bank_models, access_log=False, auth="none")), ("10.0.0.1", 80)) == 503


@pytest.mark.parametrize(("name", "fault"), [("none.json", "No such file"), ("damaged.json", "is not JSON")])
def test_a_service_does_not_start_with_a_damaged_file(name: str, fault: str, bank_models: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.json").write_text("{")
    with pytest.raises(SystemExit, match=fault):
        create_app(Settings(models=bank_models, api_keys=tmp_path / name))
    jwks: dict[str, Any] = {"jwks": str(tmp_path / name), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    with pytest.raises(SystemExit, match=r"No such file|Expecting property name"):
        create_app(Settings(models=bank_models, **jwks))


@pytest.mark.parametrize(
    ("setting", "paths"),
    [
        ("docs", ["/docs", "/openapi.json", "/docs-static/swagger-ui.css"]),
        ("metrics", ["/metrics"]),
        ("v2", ["/v2", "/v2/health/live", "/v2/models/churn"]),
    ],
)
def test_routes_can_be_removed(setting: str, paths: list[str], bank_models: Path) -> None:
    with start(bank_models) as client:
        assert {client.get(path).status_code for path in paths} == {200}
    with start(bank_models, **{setting: False}) as client:
        assert {client.get(path).status_code for path in paths} == {404}


def test_pages_may_not_be_framed_and_run_their_own_scripts_only(bank_models: Path) -> None:
    with start(bank_models) as client:
        page = client.get("/docs")
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        assert policy.count("'sha256-") == page.text.count("<script>") == 1
        assert page.headers["x-frame-options"] == "DENY"
        for path in ("/docs", "/predict", "/metrics", "/nowhere", "/v2", "/docs-static/swagger-ui.css"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
        answer = client.post("/predict", json=CUSTOMER)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "content-security-policy" not in answer.headers


def test_the_document_says_what_each_operation_needs(bank_models: Path, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "crm")
    with start(bank_models, api_keys=tmp_path / "keys.json", admin=True) as client:
        document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"].keys() == {"bearer", "apiKey"}
    paths = document["paths"]
    assert paths["/health/live"]["get"]["security"] == []
    assert "401" not in paths["/health/live"]["get"]["responses"]
    assert paths["/predict"]["post"]["security"] == [{"bearer": []}, {"apiKey": []}]
    assert paths["/metrics"]["get"]["description"] == "Scope: metrics."
    assert {"401", "403", "429"} <= paths["/admin/models"]["get"]["responses"].keys()
    content = paths["/v2/models/churn/infer"]["post"]["responses"]["401"]["content"]
    assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/V2Error"}}}
    with start(bank_models) as client:
        assert "securitySchemes" not in client.get("/openapi.json").json()["components"]
