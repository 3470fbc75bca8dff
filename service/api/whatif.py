"""OpenAPI description of `POST /counterfactuals` and `POST /sensitivity`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from churn.whatif.counterfactuals import MAX_CHANGES, MAX_FOUND
from service.api.contracts import make_example
from service.whatif.parameters import COUNTERFACTUALS, MAX_FIELDS, MAX_POINTS, MIN_POINTS, SENSITIVITY

if TYPE_CHECKING:
    from churn.schema import Schema

ANSWER = "#/components/schemas/Answer"
"""The response of `POST /predict` for one customer, which `service.api.openapi` derives from the schema."""

PROBLEMS = {
    400: "The body is not valid JSON (with line and column), or a parameter is invalid.",
    413: "The body exceeds its limit, which is stated.",
    415: "The content type is not JSON, or the encoding of the body is not supported.",
    422: "Some values are invalid, or the body has several customers; the first 100 errors are listed.",
    500: "Internal error; see the log entry with the given identifier.",
    503: "No model is ready, or the service is overloaded; retry after Retry-After.",
    504: "The answer was not found within the time limit of the request.",
}


class ProposedChange(BaseModel):
    """A changed field."""

    model_config = ConfigDict(populate_by_name=True)

    field: str = Field(description="Name of the field.", examples=["NumOfProducts"])
    own: float | str = Field(alias="from", description="The customer's value; a date in ISO 8601.", examples=[1])
    proposed: float | str = Field(alias="to", description="The proposed value; a date in ISO 8601.", examples=[2])
    distance: float = Field(ge=0, description="In spreads of the training data; 1 for a flag or a category.")


class ProposedChanges(BaseModel):
    """Changes that reach the target together."""

    changes: list[ProposedChange] = Field(
        min_length=1, max_length=MAX_CHANGES, description="In the order of the schema."
    )
    distance: float = Field(ge=0, description="Sum of the distances.", examples=[0.606])
    probability: float = Field(ge=0, le=1, description="Of the changed customer, as `POST /predict` answers it.")
    churn: bool = Field(description="Whether the probability is above the model's threshold.")


class CounterfactualAnswer(BaseModel):
    """The smallest changes of a customer that reach a target."""

    prediction: Any = Field(description="The response of `POST /predict` for the customer.")
    target: float = Field(ge=0, lt=1, description="The probability to reach.", examples=[0.5])
    goal: Literal["at most", "above"] = Field(description="Side of the target that the probability must reach.")
    counterfactuals: list[ProposedChanges] = Field(
        max_length=MAX_FOUND,
        description="Those with the fewest fields first, then the nearest. None has all fields of another one.",
    )
    complete: bool = Field(
        description=f"Whether all allowed values of up to {MAX_CHANGES} fields were tried: then nothing smaller exists."
    )
    reason: str = Field("", description="Why none was found; omitted if one was.")
    evaluations: int = Field(ge=1, description="Changed customers that were scored.")


class SensitivityCurve(BaseModel):
    """The probability along a field."""

    field: str = Field(description="Name of the field.", examples=["Age"])
    values: list[float | str] = Field(max_length=MAX_POINTS, description="Values of the field, ascending.")
    probabilities: list[float] = Field(max_length=MAX_POINTS, description="The probability with each value.")
    own: int | None = Field(ge=0, description="Place of the customer's own value, from 0; null if it is missing.")
    missing: float = Field(
        0, ge=0, le=1, description="The probability with a missing value; omitted if the field can't be missing."
    )


class SensitivityAnswer(BaseModel):
    """The probability along fields, with everything else as it is."""

    prediction: Any = Field(description="The response of `POST /predict` for the customer.")
    threshold: float = Field(ge=0, le=1, description="A customer is predicted to leave above this.")
    curves: list[SensitivityCurve] = Field(description="In the order of the fields of the request.")
    evaluations: int = Field(ge=1, description="Changed customers that were scored.")


ANSWERS: dict[str, type[BaseModel]] = {COUNTERFACTUALS: CounterfactualAnswer, SENSITIVITY: SensitivityAnswer}


def describe_what_if(schema: Schema, common: list[dict[str, Any]], problems: dict[str, Any]) -> dict[str, Any]:
    """Return the operations by path.

    Parameters
    ----------
    schema : Schema
    common : list of dict
        Parameters that relax the validation of the customer.
    problems : dict
        The responses to `PROBLEMS`.
    """
    target = {
        "name": "target",
        "in": "query",
        "description": "The probability to reach. A customer above it must come to at most this, others must come "
        "above it. By default the threshold of the model, so that the decision changes.",
        "schema": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    }
    fields = {
        "name": "fields",
        "in": "query",
        "required": True,
        "description": f"Names of up to {MAX_FIELDS} fields: repeat the parameter, or separate them by commas.",
        "schema": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_FIELDS,
            "items": {"type": "string", "enum": list(schema.names)},
        },
    }
    points = {
        "name": "points",
        "in": "query",
        "description": "Maximum number of points of a curve.",
        "schema": {"type": "integer", "minimum": MIN_POINTS, "maximum": MAX_POINTS, "default": MAX_POINTS},
    }
    return {
        COUNTERFACTUALS: _describe(
            schema,
            COUNTERFACTUALS,
            "What would change the prediction?",
            f"Up to {MAX_FOUND} different sets of changes of fields that the schema marks as `actionable`, each the "
            "smallest that brings the probability to the target. An empty list with a reason if there is none.",
            [target, *common],
            problems,
        ),
        SENSITIVITY: _describe(
            schema,
            SENSITIVITY,
            "How does the probability depend on a field?",
            "The probability along the values of fields that training saw, with everything else as it is.",
            [fields, points, *common],
            problems,
        ),
    }


def _describe(
    schema: Schema, path: str, summary: str, words: str, parameters: list[dict[str, Any]], problems: dict[str, Any]
) -> dict[str, Any]:
    customer = {"schema": {"$ref": "#/components/schemas/Customer"}, "example": make_example(schema)}
    answer = {"schema": {"$ref": f"#/components/schemas/{ANSWERS[path].__name__}"}}
    return {
        "post": {
            "tags": ["what if"],
            "summary": summary,
            "description": words,
            "operationId": path[1:],
            "parameters": parameters,
            "requestBody": {"required": True, "content": {"application/json": customer}},
            "responses": {
                "200": {"description": "The answer.", "content": {"application/json": answer}},
                **problems,
            },
        }
    }
