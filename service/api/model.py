"""The route that describes the served model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.openapi import describe_problems
from service.errors import Problem, RequestProblem
from service.observe.shadow_metrics import summarise

if TYPE_CHECKING:
    from churn.scorer import Scorer
    from service.observe.metrics import Metrics
    from service.rollout.messages import Change
    from service.state import ModelState

_MANIFEST_FIELDS = ("created", "git_commit", "seed", "network", "metrics", "data", "libraries")


class LastChange(BaseModel):
    """The last change of the served models, or the last attempt."""

    time: str = Field(description="When it was made or failed, in UTC.", examples=["2026-11-30T12:00:00+00:00"])
    action: str = Field(description="promote, rollback, current, shadow or canary.", examples=["promote"])
    outcome: str = Field(description="switched or failed.", examples=["switched"])
    version: str | None = Field(None, description="The version that was to be served.", examples=["2"])
    reason: str | None = Field(None, description="Why it failed; the previous models are still served.")


class CanaryDescription(BaseModel):
    """The model that scores a share of the customers instead."""

    version: str = Field(description="Version of the model.", examples=["2"])
    share: float = Field(description="Its share of the customers that have an identifier.", examples=[0.1])


class SignatureDescription(BaseModel):
    """Who signed the model."""

    required: bool = Field(description="Whether a signature by a trusted key was required (CHURN_TRUSTED_KEYS).")
    signed_by: list[str] = Field(
        description="Identifiers of the trusted keys whose signatures were verified; empty if none was required.",
        examples=[["9f86d081884c7d65"]],
    )


class ModelDescription(BaseModel):
    """The served model."""

    model_config = ConfigDict(populate_by_name=True)

    version: str = Field(description="Version of the model.", examples=["1"])
    engine: str = Field(description="Inference engine: onnx or tensorflow.", examples=["onnx"])
    device: str = Field(description="Device on which it runs.", examples=["CPU"])
    threshold: float = Field(description="A customer is predicted to leave above this.", examples=[0.5])
    columns: dict[str, Any] = Field(alias="schema", description="The columns: label, identifier and features.")
    signature: SignatureDescription = Field(description="Who signed it.")
    created: str | None = Field(None, description="Time of the training.")
    git_commit: str | None = Field(None, description="Commit of the code that trained it.")
    seed: int | None = Field(None, description="Seed of the training.")
    network: Any = Field(None, description="Kind and size of the network.")
    metrics: dict[str, Any] | None = Field(None, description="Metrics on the training, validation and test sets.")
    data: dict[str, Any] | None = Field(None, description="The training table, with its SHA-256.")
    libraries: dict[str, str] | None = Field(None, description="Versions of the libraries that wrote the model.")
    shadow: str | None = Field(None, description="Version that scores the same customers for comparison.")
    canary: CanaryDescription | None = Field(None, description="The model that scores a share of the customers.")
    last_change: LastChange | None = Field(
        None, description="The last change of the models while the service ran, or the last attempt."
    )


class Difference(BaseModel):
    """Customers whose probabilities differ by an amount."""

    above: float | None = Field(description="The difference is above this; null: no bound.")
    up_to: float | None = Field(description="The difference is at most this; null: no bound.")
    customers: int = Field(description="Number of customers.")


class Subgroup(BaseModel):
    """Compared customers with a value of a category or flag."""

    feature: str = Field(description="Name of the feature.", examples=["Geography"])
    value: str = Field(description="Value of the feature.", examples=["France"])
    customers: int = Field(description="Compared customers.")
    to_churn: int = Field(description="Those who leave according to the shadow only.")
    to_stay: int = Field(description="Those who stay according to the shadow only.")


class ShadowReport(BaseModel):
    """Comparison of the shadow with the served model, summed over the workers."""

    champion: str = Field(description="The served version.", examples=["1"])
    shadow: str = Field(description="The version that is compared with it.", examples=["2"])
    compared: int = Field(description="Customers scored by both.")
    dropped: int = Field(description="Customers that the shadow did not score, because the service was busy.")
    rejected: int = Field(description="Customers that the schema of the shadow does not allow.")
    to_churn: int = Field(description="Customers who leave according to the shadow only.")
    to_stay: int = Field(description="Customers who stay according to the shadow only.")
    differences: list[Difference] = Field(description="Probability of the shadow minus that of the served model.")
    subgroups: list[Subgroup] = Field(description="By value of the categories and flags.")


def make_router(state: ModelState, metrics: Metrics) -> APIRouter:
    """Create the routes."""
    router = APIRouter(tags=["model"])

    @router.get(
        "/model",
        summary="The served model",
        response_model=ModelDescription,
        response_model_exclude_none=True,
        responses=describe_problems({503: "No model is loaded; the detail says why."}),  # type: ignore[arg-type]
    )
    async def model() -> ModelDescription | Response:
        if state.model is None:
            return RequestProblem.not_ready(state.reason).respond()
        return describe(state, state.model.scorer)

    @router.get(
        "/model/shadow",
        summary="Comparison of the shadow with the served model",
        response_model=ShadowReport,
        responses=describe_problems({404: "There is no shadow."}),  # type: ignore[arg-type]
    )
    async def shadow() -> ShadowReport | Response:
        lineup = state.lineup
        if lineup is None or lineup.shadow is None:
            detail = "no version is compared with the served one; see CHURN_SHADOW_VERSION and PUT /admin/shadow"
            return Problem(404, "no-shadow", "There is no shadow", detail).respond()
        metrics.flush()
        versions = str(lineup.champion.version), str(lineup.shadow.version)
        found = await asyncio.to_thread(lambda: summarise(metrics.collect(), *versions))
        return ShadowReport(**found)

    return router


def describe(state: ModelState, scorer: Scorer) -> ModelDescription:
    """Describe the served model, and what is served beside it."""
    content = scorer.manifest.content
    lineup, change = state.lineup, state.last_change
    shadow, canary = (None, None) if lineup is None else (lineup.shadow, lineup.canary)
    return ModelDescription(
        version=scorer.version,
        engine=scorer.engine.name,
        device=scorer.engine.device,
        threshold=scorer.threshold,
        schema=scorer.schema.to_dict(),
        signature=SignatureDescription(required=scorer.signers.required, signed_by=list(scorer.signers.keys)),
        shadow=None if shadow is None else str(shadow.version),
        canary=None
        if lineup is None or canary is None
        else CanaryDescription(version=str(canary.version), share=lineup.share),
        last_change=None if change is None else describe_change(change),
        **{key: content[key] for key in _MANIFEST_FIELDS if key in content},
    )


def describe_change(change: Change) -> LastChange:
    """Describe a change of the models."""
    return LastChange(
        time=change.time, action=change.action, outcome=change.outcome, version=change.version, reason=change.reason
    )
