"""Request and response models, derived from the schema, for the OpenAPI document.

They only describe requests; `service.predict.parse` and `service.predict.fast_parse` validate them. Tests check that
both agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from churn.dates import write_date
from churn.feature import FLAG_WORDS, LARGEST
from churn.names import BATCH, name_results

if TYPE_CHECKING:
    from churn.feature import Feature
    from churn.schema import Schema


class Warned(BaseModel):
    """A value outside the range of the training data, which was scored nevertheless."""

    field: str = Field(description="Name of the field.", examples=["Age"])
    sent: float | str = Field(description="The value; a date in ISO 8601.", examples=[101])
    trained_minimum: float | str | None = Field(description="Smallest value seen in training.", examples=[18])
    trained_maximum: float | str | None = Field(description="Largest value seen in training.", examples=[92])


class Reason(BaseModel):
    """What one field does to the probability: a Shapley value."""

    field: str = Field(description="Name of the field.", examples=["Balance"])
    value: Any = Field(description="The value as it was sent, shortened to 100 characters; null if it is missing.")
    points: float = Field(
        ge=-1,
        le=1,
        description="What the field adds to the probability, rounded to six decimals such that `base` and the points "
        "of all fields add up to `probability`.",
        examples=[0.083012],
    )
    sentence: str = Field(
        description="The same in words.",
        examples=["Balance of 125,510.82 euros: raises the probability by 8.3 points"],
    )
    standard_error: float | None = Field(
        None, ge=0, description="Standard error of `points`. Only if they are estimates: beyond 12 fields."
    )


class Support(BaseModel):
    """How far a probability can be trusted: how rare such customers are, and how sure the network is."""

    share: float = Field(
        ge=0,
        le=1,
        description="Share of customers who are as far from their neighbours in the training set as this one.",
        examples=[0.031],
    )
    field: str = Field(description="The field that adds most to this distance.", examples=["Balance"])
    low: float | None = Field(
        None,
        ge=0,
        le=1,
        description="In nine of ten cases, the probability of a network trained on other customers is from `low` to "
        "`high`. Omitted if the model version has one network only.",
        examples=[0.071],
    )
    high: float | None = Field(None, ge=0, le=1, description="See `low`.", examples=[0.205])
    sentence: str = Field(description="The same in words.", examples=["Many training customers are like this one."])


class WrongValue(BaseModel):
    """An invalid value."""

    customer: int | None = Field(description="Position of the customer, from 0; null: the whole request.")
    row: int | None = Field(None, description="Row of the table, from 1. Only for tables.")
    line: int | None = Field(None, description="Line on which the row begins, from 1. Only for CSV.")
    field: str | None = Field(description="Name of the field; null: the whole customer or request.")
    reason: str = Field(description="What is wrong.", examples=["is too small"])
    sent: Any = Field(description="The value that was sent, shortened; null if the field is missing.")
    allowed: str = Field(description="Allowed values.")


class ProblemDocument(BaseModel):
    """An error as a problem document (RFC 9457, `application/problem+json`)."""

    type: str = Field(description="Type of the problem.", examples=["urn:churn:invalid-customers"])
    title: str = Field(description="Summary of the problem type.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="Explanation of this occurrence, with what is allowed.")
    errors: list[WrongValue] | None = Field(None, description="The first 100 invalid values. Only with status 422.")


def make_request_models(schema: Schema) -> tuple[type[BaseModel], type[BaseModel]]:
    """Create the request models of a single customer and of a batch."""
    closed = ConfigDict(extra="forbid")
    fields: dict[str, Any] = {f"f{i}": _describe(feature) for i, feature in enumerate(schema.features)}
    about = "Identifier of the customer; returned in the response, not used for scoring. Null or omitted: none."
    fields["identifier"] = _identifier_field(schema, about, may_be_null=True)
    customer: type[BaseModel] = create_model("Customer", __config__=closed, __doc__="One bank customer.", **fields)
    batch: type[BaseModel] = create_model(
        "Customers",
        __config__=closed,
        __doc__="Several customers.",
        **dict[str, Any]({BATCH: (list[customer], Field(description="In the order of the predictions."))}),  # type: ignore[valid-type]
    )
    return customer, batch


def make_response_models(schema: Schema) -> tuple[type[BaseModel], type[BaseModel]]:
    """Create the response models of a single customer and of a batch."""
    fields: dict[str, Any] = {
        "probability": (
            float,
            Field(ge=0, le=1, description="Probability that the customer leaves.", examples=[0.1234]),
        ),
        "churn": (bool, Field(description="Whether the probability is above the model's threshold.")),
        "identifier": _identifier_field(schema, "Identifier that was sent with the customer."),
        "warnings": (
            list[Warned],
            Field(None, description="Values outside the range of the training data; omitted if there are none."),
        ),
    }
    base = (
        float,
        Field(
            None,
            ge=0,
            le=1,
            alias=name_results(["base"], [schema.identifier])[0],
            description="Mean probability of the customers that reasons are measured against. Only with `reasons`.",
        ),
    )
    reasons = (
        list[Reason],
        Field(None, description="The strongest reasons, the strongest first. Only with `reasons`."),
    )
    support = (
        Support,
        Field(
            None,
            alias=name_results(["support"], [schema.identifier])[0],
            description="How far the probability can be trusted. Only with `reasons`; omitted if the model version was "
            "trained by an older program.",
        ),
    )
    told: dict[str, Any] = {"base": base, "reasons": reasons, "support": support}
    version = (str, Field(description="Version of the model.", examples=["1"]))
    other = (str, Field(None, description="Version of the model, if it is not that of the response: a canary's."))
    prediction: type[BaseModel] = create_model(
        "Prediction", __doc__="The prediction for one customer.", **fields, model_version=other, **told
    )
    answer: type[BaseModel] = create_model(
        "Answer", __doc__="The response for one customer.", **fields, model_version=version, **told
    )
    answers: type[BaseModel] = create_model(
        "Answers",
        __doc__="The response for several customers.",
        predictions=(list[prediction], Field(description="In the order of the customers.")),  # type: ignore[valid-type]
        model_version=version,
    )
    return answer, answers


def make_example(schema: Schema) -> dict[str, Any]:
    """Return a typical customer in the form of a request."""
    return {feature.name: _example(feature) for feature in schema.features}


def _identifier_field(schema: Schema, description: str, *, may_be_null: bool = False) -> Any:  # noqa: ANN401
    # Names are aliases, because a column name may not be a valid Python identifier.
    whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
    details: Any = {"alias": schema.identifier, "title": schema.identifier, "examples": [15634602]}
    kind = str | whole | None if may_be_null else str | whole
    return (kind, Field(None, description=description, **details))


def _describe(feature: Feature) -> Any:  # noqa: ANN401  a field of create_model
    kind = _type_of(feature)
    details: Any = {"alias": feature.name, "title": feature.name, "examples": [_example(feature)]}
    default = None if feature.nullable else ...
    return (kind | None if feature.nullable else kind, Field(default, description=_words(feature), **details))


def _type_of(feature: Feature) -> Any:  # noqa: ANN401  a type
    if feature.kind == "category":
        return Annotated[str, Field(min_length=1)] if feature.open else Literal[feature.categories]
    if feature.kind == "date":
        return Annotated[str, Field(min_length=1)]
    if feature.kind == "flag":
        return Literal[0, 1] | bool | Literal[tuple(FLAG_WORDS)]
    low = -LARGEST if feature.minimum is None else feature.minimum
    high = LARGEST if feature.maximum is None else feature.maximum
    if feature.kind == "integer":
        return Annotated[int, Field(ge=int(low), le=int(high))]
    return Annotated[float, Field(ge=low, le=high)]


def _example(feature: Feature) -> Any:  # noqa: ANN401  a JSON value
    if feature.example is not None:
        example = feature.example
        return int(example) if isinstance(example, float) and feature.kind != "number" else example
    if feature.kind == "category":
        return feature.categories[0]
    if feature.kind == "date":
        return write_date(feature.trained_maximum or 0)
    if feature.kind == "flag":
        return 1
    bounds = (feature.trained_minimum, feature.minimum, feature.maximum)
    number = next((bound for bound in bounds if bound is not None), 0)
    return int(number) if feature.kind == "integer" else number


def _words(feature: Feature) -> str:
    unit = f" In {feature.unit}." if feature.unit else ""
    seen = ""
    if feature.trained_minimum is not None and feature.trained_maximum is not None:
        low, high = (feature.show(bound) for bound in (feature.trained_minimum, feature.trained_maximum))
        seen = f" Seen in training: {low} to {high}." if feature.kind == "date" else ""
        seen = seen or f" Seen in training: {feature.trained_minimum:.15g} to {feature.trained_maximum:.15g}."
    missing = " Null or omitted: unknown." if feature.nullable else ""
    described = feature.description or f"{feature.allowed[0].upper()}{feature.allowed[1:]}."
    return f"{described}{unit}{seen}{missing}"
