"""What is served: the manifest's facts and what runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.openapi import describe_problems
from service.errors import RequestProblem

if TYPE_CHECKING:
    from churn.scorer import Scorer
    from service.state import ModelState

_FACTS = ("created", "git_commit", "seed", "network", "metrics", "data", "libraries")


class ModelFacts(BaseModel):
    """The model that is served."""

    model_config = ConfigDict(populate_by_name=True)

    version: str = Field(description="The model's version.", examples=["1"])
    engine: str = Field(description="What runs the network: onnx or tensorflow.", examples=["onnx"])
    device: str = Field(description="Where it runs.", examples=["CPU"])
    threshold: float = Field(description="A customer is said to leave if the probability is above it.", examples=[0.5])
    columns: dict[str, Any] = Field(alias="schema", description="The columns: label, identifier and features.")
    created: str | None = Field(None, description="When it was trained.")
    git_commit: str | None = Field(None, description="The code that trained it.")
    seed: int | None = Field(None, description="Seed of the training.")
    network: Any = Field(None, description="The network's kind and size.")
    metrics: dict[str, Any] | None = Field(None, description="What it reached on training, validation and test part.")
    data: dict[str, Any] | None = Field(None, description="The training table, with its fingerprint (SHA-256).")
    libraries: dict[str, str] | None = Field(None, description="Versions of the libraries that wrote the bundle.")


def make_router(state: ModelState) -> APIRouter:
    """Make the route."""
    router = APIRouter(tags=["model"])

    @router.get(
        "/model",
        summary="Which model is served?",
        response_model=ModelFacts,
        response_model_exclude_none=True,
        responses=describe_problems({503: "No model is loaded; the detail says why."}),  # type: ignore[arg-type]
    )
    async def model() -> ModelFacts | Response:
        if state.model is None:
            return RequestProblem.not_ready(state.reason).respond()
        return describe(state.model.scorer)

    return router


def describe(scorer: Scorer) -> ModelFacts:
    """Return the facts of a loaded model."""
    content = scorer.manifest.content
    return ModelFacts(
        version=scorer.version,
        engine=scorer.engine.name,
        device=scorer.engine.device,
        threshold=scorer.threshold,
        schema=scorer.schema.to_dict(),
        **{fact: content[fact] for fact in _FACTS if fact in content},
    )
