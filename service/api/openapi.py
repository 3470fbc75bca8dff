"""The OpenAPI document: the routes' own, and `POST /predict` from the models of the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from churn.names import BATCH
from service.api.contracts import ProblemDocument, make_example, make_request_models, make_response_models
from service.api.tables import PARAMETERS, describe_answers, describe_requests
from service.errors import MEDIA_TYPE
from service.predict.endpoint import PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from pydantic import BaseModel

    from churn.schema import Schema

_REF = "#/components/schemas/{model}"

_ANSWERS = {
    "one": {"summary": "One customer", "value": {"probability": 0.1234, "churn": False, "model_version": "1"}},
    "many": {
        "summary": "Many customers",
        "value": {
            "predictions": [{"probability": 0.1234, "churn": False}, {"probability": 0.8765, "churn": True}],
            "model_version": "1",
        },
    },
}

_PREDICT_PROBLEMS = {
    400: "The body is not the JSON (line and column are named) or table that is announced, or a parameter is wrong.",
    413: "The body, the number of customers, or the answer to a table is over its limit, which is named.",
    415: "The content type is none of those that are read, or the body is compressed.",
    422: "Some values can't be scored: all of them are listed, the first 100.",
    500: "The service failed; the log says more under the identifier that is named.",
    503: "No model is ready, or too much is waiting: try again after Retry-After.",
}


def build_document(app: FastAPI, schema: Schema) -> dict[str, Any]:
    """Return the OpenAPI document of a service that serves a model of this schema.

    Parameters
    ----------
    app : FastAPI
        Has the other routes.
    schema : Schema
    """
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    requests, responses = make_request_models(schema), make_response_models(schema)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= _schemas_of([*requests, ProblemDocument], "validation")
    schemas |= _schemas_of(responses, "serialization")
    example = make_example(schema)
    document["paths"][PATH] = {
        "post": {
            "tags": ["scoring"],
            "summary": "Score one customer, or many",
            "description": 'Send one customer as an object, or `{"customers": [...]}` with up to as many as the '
            "service allows, or a table of any length as CSV or as an Arrow stream, which is answered in kind; the "
            "answers come in the same order.",
            "operationId": "predict",
            "parameters": PARAMETERS,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": _any_of(requests),
                        "examples": {
                            "one": {"summary": "One customer", "value": example},
                            "many": {"summary": "Many customers", "value": {BATCH: [example, example]}},
                        },
                    }
                }
                | describe_requests(schema),
            },
            "responses": {
                "200": {
                    "description": "The probability that the customer, or each customer, leaves.",
                    "content": {"application/json": {"schema": _any_of(responses), "examples": _ANSWERS}}
                    | describe_answers(schema),
                }
            }
            | describe_problems(_PREDICT_PROBLEMS),
        }
    }
    return document


def describe_problems(problems: dict[int, str]) -> dict[str, Any]:
    """Return the responses of an operation that are problem documents, by status."""
    reference = {"$ref": _REF.format(model=ProblemDocument.__name__)}
    return {
        str(status): {"description": words, "content": {MEDIA_TYPE: {"schema": reference}}}
        for status, words in problems.items()
    }


def _schemas_of(models: Sequence[type[BaseModel]], mode: Any) -> dict[str, Any]:  # noqa: ANN401  pydantic's literal
    _, definitions = models_json_schema([(model, mode) for model in models], ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _any_of(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    return {"anyOf": [{"$ref": _REF.format(model=model.__name__)} for model in models]}
