"""The route that describes the served model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.openapi import describe_problems
from service.errors import RequestProblem

if TYPE_CHECKING:
    from churn.scorer import Scorer
    from service.state import ModelState

_MANIFEST_FIELDS = ("created", "git_commit", "seed", "network", "metrics", "data", "libraries")


class ModelDescription(BaseModel):
    """The served model."""

    model_config = ConfigDict(populate_by_name=True)

    version: str = Field(description="Version of the model.", examples=["1"])
    engine: str = Field(description="Inference engine: onnx or tensorflow.", examples=["onnx"])
    device: str = Field(description="Device on which it runs.", examples=["CPU"])
    threshold: float = Field(description="A customer is predicted to leave above this.", examples=[0.5])
    columns: dict[str, Any] = Field(alias="schema", description="The columns: label, identifier and features.")
    created: str | None = Field(None, description="Time of the training.")
    git_commit: str | None = Field(None, description="Commit of the code that trained it.")
    seed: int | None = Field(None, description="Seed of the training.")
    network: Any = Field(None, description="Kind and size of the network.")
    metrics: dict[str, Any] | None = Field(None, description="Metrics on the training, validation and test sets.")
    data: dict[str, Any] | None = Field(None, description="The training table, with its SHA-256.")
    libraries: dict[str, str] | None = Field(None, description="Versions of the libraries that wrote the model.")


def make_router(state: ModelState) -> APIRouter:
    """Create the route."""
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
        return describe(state.model.scorer)

    return router


def describe(scorer: Scorer) -> ModelDescription:
    """Describe a loaded model."""
    content = scorer.manifest.content
    return ModelDescription(
        version=scorer.version,
        engine=scorer.engine.name,
        device=scorer.engine.device,
        threshold=scorer.threshold,
        schema=scorer.schema.to_dict(),
        **{key: content[key] for key in _MANIFEST_FIELDS if key in content},
    )
