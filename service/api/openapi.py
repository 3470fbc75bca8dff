"""The OpenAPI document: the routes of the application, and `POST /predict` as described by the schema of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from churn.names import BATCH
from service.api.contracts import ProblemDocument, make_example, make_request_models, make_response_models
from service.api.tables import DECIMAL, PARAMETERS, describe_answers, describe_requests
from service.api.whatif import ANSWER, ANSWERS, PROBLEMS, describe_what_if
from service.errors import MEDIA_TYPE
from service.predict.endpoint import PATH
from service.query import ALLOWED, REASONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from pydantic import BaseModel

    from churn.schema import Schema

_REF = "#/components/schemas/{model}"

LENIENCY: list[dict[str, Any]] = [
    {
        "name": "extra",
        "in": "query",
        "description": "JSON only: whether fields that are not in the schema are rejected or ignored.",
        "schema": {"type": "string", "enum": list(ALLOWED["extra"]), "default": ALLOWED["extra"][0]},
    },
    {
        "name": "texts",
        "in": "query",
        "description": "JSON only: whether strings for numbers and flags are rejected, or parsed like the cells of a "
        'CSV: `"42"` is 42, and `""` and `"NA"` are missing values. With `parse`, white space around names of fields '
        "is removed, and a category may be a number.",
        "schema": {"type": "string", "enum": list(ALLOWED["texts"]), "default": ALLOWED["texts"][0]},
    },
]
"""Parameters for clients that send complete records or can't convert types."""

EXPLANATION: list[dict[str, Any]] = [
    {
        "name": REASONS,
        "in": "query",
        "description": "Number of reasons beside each prediction, the strongest first; `all` lists every field. In CSV "
        "and Arrow, reasons are further columns. By default there are none.",
        "schema": {"type": "string", "pattern": "^(all|[1-9][0-9]{0,3})$"},
    }
]

_ANSWERS = {
    "one": {"summary": "One customer", "value": {"probability": 0.1234, "churn": False, "model_version": "1"}},
    "many": {
        "summary": "Several customers",
        "value": {
            "predictions": [{"probability": 0.1234, "churn": False}, {"probability": 0.8765, "churn": True}],
            "model_version": "1",
        },
    },
}

_PREDICT_PROBLEMS = {
    400: "The body is not valid JSON (with line and column) or not a valid table, or a parameter is invalid.",
    409: "Reasons were asked for, and the model has no background or can't be explained; retrain it.",
    413: "The body, the number of customers or the response to a table exceeds its limit, which is stated.",
    415: "The content type is not supported, or the body is compressed.",
    422: "Some values are invalid; the first 100 are listed.",
    500: "Internal error; see the log entry with the given identifier.",
    503: "No model is ready, or the service is overloaded; retry after Retry-After.",
    504: "The request was not scored within its time limit.",
}


def build_document(app: FastAPI, schema: Schema) -> dict[str, Any]:
    """Build the OpenAPI document of a service with a model of the given schema.

    Parameters
    ----------
    app : FastAPI
        Application with the other routes.
    schema : Schema

    Returns
    -------
    dict
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
    schemas |= _schemas_of(list(ANSWERS.values()), "serialization")
    for model in ANSWERS.values():
        schemas[model.__name__]["properties"]["prediction"] = {"$ref": ANSWER}
    document["paths"] |= describe_what_if(schema, [*LENIENCY, DECIMAL], describe_problems(PROBLEMS))
    example = make_example(schema)
    document["paths"][PATH] = {
        "post": {
            "tags": ["scoring"],
            "summary": "Score one customer or several",
            "description": 'The body is one customer as an object, or `{"customers": [...]}`, or a table of any length '
            "as CSV or as an Arrow stream, for which the response has the same format. Results are in the order of the "
            "customers.",
            "operationId": "predict",
            "parameters": [*PARAMETERS, *LENIENCY, *EXPLANATION],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": _any_of(requests),
                        "examples": {
                            "one": {"summary": "One customer", "value": example},
                            "many": {"summary": "Several customers", "value": {BATCH: [example, example]}},
                        },
                    }
                }
                | describe_requests(schema),
            },
            "responses": {
                "200": {
                    "description": "The probability that each customer leaves.",
                    "content": {"application/json": {"schema": _any_of(responses), "examples": _ANSWERS}}
                    | describe_answers(schema),
                }
            }
            | describe_problems(_PREDICT_PROBLEMS),
        }
    }
    return document


def describe_problems(problems: dict[int, str]) -> dict[str, Any]:
    """Return the OpenAPI responses of an operation for the given statuses and descriptions, all problem documents."""
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
