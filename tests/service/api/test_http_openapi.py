"""The OpenAPI document says what the service does."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from bundles import BANK, ODD
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from keyed import add_key
from running import start
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from churn.bundle import read_bundle
from churn.errors import RegistryError
from churn.registry import Registry
from service.api.openapi import build_document
from service.app import create_app
from service.guard.keys_file import SCOPES
from service.media_types import ARROW, CSV
from service.openapi_file import main
from service.settings import Settings

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from churn.schema import Schema

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

ROOT = Path(__file__).parents[3]


def fields_of(document: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = document["components"]["schemas"]["Customer"]["properties"]
    return properties


@pytest.mark.parametrize(("name", "schema"), [("client", BANK), ("odd_client", ODD)])
def test_it_has_exactly_the_fields_of_the_schema(name: str, schema: Schema, request: pytest.FixtureRequest) -> None:
    document = request.getfixturevalue(name).get("/openapi.json").json()
    customer = document["components"]["schemas"]["Customer"]
    assert list(customer["properties"]) == [*schema.names, schema.identifier]
    assert customer["required"] == [feature.name for feature in schema.features if not feature.nullable]
    assert customer["additionalProperties"] is False
    assert {"/health/live", "/health/ready", "/model", "/metrics", "/predict"} <= document["paths"].keys()
    statuses = {"200", "400", "409", "413", "415", "422", "500", "503", "504"}
    assert set(document["paths"]["/predict"]["post"]["responses"]) == statuses


def test_a_field_shows_what_is_known_of_it(client: TestClient) -> None:
    fields = fields_of(client.get("/openapi.json").json())
    assert fields["CreditScore"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 10**15,
        "title": "CreditScore",
        "description": "The bank's rating of the customer. In points. Seen in training: 350 to 850.",
        "examples": [619],
    }
    assert fields["Geography"]["enum"] == ["France", "Germany", "Spain"]


def test_a_field_that_may_be_missing_shows_it(odd_client: TestClient) -> None:
    field = fields_of(odd_client.get("/openapi.json").json())["_income"]
    assert {"type": "null"} in field["anyOf"]
    assert {"type": "number", "minimum": -10.5, "maximum": 1e6} in field["anyOf"]
    assert field["description"].endswith("Null or omitted: unknown.")


@pytest.mark.parametrize("name", ["client", "odd_client"])
def test_its_examples_are_accepted(name: str, request: pytest.FixtureRequest) -> None:
    client = request.getfixturevalue(name)
    body = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    examples = body["content"]["application/json"]["examples"]
    assert set(examples) == {"one", "many"}
    for example in examples.values():
        assert client.post("/predict", json=example["value"]).status_code == 200
    table = body["content"][CSV]["example"]
    assert client.post("/predict", content=table.encode(), headers={"content-type": CSV}).status_code == 200


def test_the_page_asks_nobody_else(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"docs-static/{name}" in page.text
        assert client.get(f"/docs-static/{name}").status_code == 200


def test_the_command_writes_the_document_that_is_served(bank_models: Path, client: TestClient, tmp_path: Path) -> None:
    main([str(bank_models), str(tmp_path / "openapi.json")])
    assert json.loads((tmp_path / "openapi.json").read_text()) == client.get("/openapi.json").json()


def test_the_checked_in_document_is_the_shipped_models() -> None:
    try:
        folder = Registry(ROOT / "models").current_folder()
    except RegistryError:
        pytest.skip("no model is shipped yet")
    document = build_document(create_app(Settings()), read_bundle(folder).manifest.schema)
    assert json.loads((ROOT / "docs" / "openapi.json").read_text()) == json.loads(json.dumps(document))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["client", "odd_client"])
def test_schemathesis_finds_no_undocumented_answer(name: str, request: pytest.FixtureRequest) -> None:
    app = request.getfixturevalue(name).app
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    # The Open Inference Protocol's routes refuse what their protocol's own schema allows; they have their own test.
    schema = schema.exclude(path_regex="^/v2")
    tested = []

    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:

            @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                # What makes a text a table of these columns no schema of OpenAPI can say.
                is_table = case.media_type in (CSV, ARROW)
                case.call_and_validate(excluded_checks=[positive_data_acceptance] if is_table else None)
                tested.append(case.operation.label)

            with suppress(Unsatisfiable):  # a GET without parameters has no invalid form
                check()
    assert set(tested) >= {"GET /health/live", "GET /health/ready", "GET /model", "GET /metrics", "POST /predict"}
    assert set(tested) >= {"POST /counterfactuals", "POST /sensitivity"}


@pytest.mark.slow
@pytest.mark.parametrize("scopes", [SCOPES, ("metrics",), ()], ids=["all scopes", "one scope", "no key"])
def test_schemathesis_finds_no_undocumented_answer_with_keys(
    scopes: tuple[str, ...], bank_models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "crm", scopes or SCOPES)
    headers = {"Authorization": f"Bearer {key}"} if scopes else {}
    statuses: set[tuple[str, int]] = set()
    with start(bank_models, api_keys=path, admin=True) as client:
        schema: Any = schemathesis.openapi.from_asgi("/openapi.json", client.app)
        if "admin" in scopes:  # changes of the models wait for the loop that the service runs in
            schema = schema.exclude(path_regex="^/admin/(models/|shadow|canary)")
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
            def check(case: Any) -> None:
                case.headers.pop("Authorization", None)
                case.headers.pop("X-API-Key", None)
                response = case.call(headers=headers)
                case.validate_response(response, checks=CHECKS)
                statuses.add((case.operation.label, response.status_code))

            with suppress(Unsatisfiable):
                check()
    needed = {label for label, status in statuses if status == 401}
    forbidden = {label for label, status in statuses if status == 403}
    assert {"GET /metrics", "POST /predict", "POST /v2/models/churn/infer", "PUT /admin/shadow"} & needed == (
        set() if scopes else {"GET /metrics", "POST /predict", "POST /v2/models/churn/infer", "PUT /admin/shadow"}
    )
    assert ("POST /predict" in forbidden) == (scopes == ("metrics",))
    assert ("GET /health/live", 200) in statuses
