"""Routes with the evaluation of the served model: its numbers, its report and its model card."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from churn.bundle import MODEL_CARD_FILE, REPORT_FILE
from service.api.openapi import describe_problems
from service.errors import Problem, RequestProblem

if TYPE_CHECKING:
    from service.state import ModelState

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
"""Of the report, which has its styles inside: whatever it contains, it runs nothing and asks nobody."""

_NOT_READY = {503: "No model is loaded; the detail says why."}
_DOCUMENT = {**_NOT_READY, 404: "The served version has no such document."}


class ScoreHistogram(BaseModel):
    """Probabilities of the training customers, in bins."""

    edges: list[float] = Field(description="Inner edges of the bins, ascending; each bin includes its lower edge.")
    counts: list[int] = Field(description="Customers in each bin, one more than there are edges.")


class Score(BaseModel):
    """A metric with its 95 % interval."""

    value: float = Field(description="On the evaluated part.", examples=[0.87])
    low: float = Field(description="Lower end.", examples=[0.85])
    high: float = Field(description="Upper end.", examples=[0.89])


class CampaignCosts(BaseModel):
    """Costs and value of a retention campaign (docs/report.md), in any single currency."""

    customer_value: float = Field(description="Value of a customer who stays.", examples=[200.0])
    offer_cost: float = Field(description="Cost of an accepted offer.", examples=[10.0])
    contact_cost: float = Field(description="Cost of contacting a customer.", examples=[1.0])
    accept_rate: float = Field(description="Share of those who would leave that accepts and stays.", examples=[0.3])


class ThresholdCounts(BaseModel):
    """Who is above a threshold."""

    threshold: float = Field(description="From 0 to 1.", examples=[0.5])
    contacted: int = Field(description="Customers above it.", examples=[253])
    leavers: int = Field(description="Those of them who left.", examples=[194])


class Evaluation(BaseModel):
    """What the training found on customers that it held out."""

    part: str = Field(description="The evaluated part: test, validation or train.", examples=["test"])
    customers: int = Field(description="Customers in this part.", examples=[2000])
    leavers: int = Field(description="Those of them who left.", examples=[407])
    caveat: str = Field("", description="What limits the evaluation; empty for a test set.")
    scores: dict[str, Score] = Field(description="Metrics by name.")
    costs: CampaignCosts = Field(description="Those of the report.")
    thresholds: list[ThresholdCounts] = Field(
        description="Ascending. The profit of contacting those above one follows from its counts and any costs."
    )


class EvaluationDescription(BaseModel):
    """The evaluation of the served model."""

    version: str = Field(description="Version of the model.", examples=["1"])
    threshold: float = Field(description="A customer is predicted to leave above this.", examples=[0.5])
    score_histogram: ScoreHistogram = Field(description="Probabilities of the training customers.")
    evaluation: Evaluation | None = Field(None, description="Omitted for versions of older programs.")


def make_router(state: ModelState) -> APIRouter:
    """Create the routes."""
    router = APIRouter(prefix="/model", tags=["model"])

    @router.get(
        "/evaluation",
        summary="Metrics with intervals, and what each threshold means",
        response_model=EvaluationDescription,
        response_model_exclude_none=True,
        responses=describe_problems(_NOT_READY),  # type: ignore[arg-type]
    )
    async def evaluation() -> EvaluationDescription | Response:
        if state.model is None:
            return RequestProblem.not_ready(state.reason).respond()
        scorer = state.model.scorer
        content = scorer.manifest.content
        return EvaluationDescription(
            version=scorer.version,
            threshold=scorer.threshold,
            score_histogram=content["score_histogram"],
            evaluation=content.get("evaluation"),
        )

    @router.get(
        "/report",
        summary="The report, a page without scripts",
        response_class=Response,
        responses=_describe("text/html"),
    )
    async def report() -> Response:
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return await _send(state, REPORT_FILE, "text/html; charset=utf-8", headers)

    @router.get(
        "/card",
        summary="The model card, in Markdown",
        response_class=Response,
        responses=_describe("text/markdown"),
    )
    async def card() -> Response:
        return await _send(state, MODEL_CARD_FILE, "text/markdown; charset=utf-8", {})

    return router


def _describe(media_type: str) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route with a document."""
    return {200: {"content": {media_type: {}}}} | {**describe_problems(_DOCUMENT)}


async def _send(state: ModelState, name: str, media_type: str, headers: dict[str, str]) -> Response:
    """Respond with a document of the served version, from the verified copy that it was loaded from."""
    if state.lineup is None:
        return RequestProblem.not_ready(state.reason).respond()
    version = state.lineup.champion
    if name not in _list_documents(state):
        detail = f"model version {version.version} has no {name}"
        return Problem(404, "no-document", "There is no such document", detail).respond()
    content = await asyncio.to_thread((Path(version.folder) / name).read_bytes)
    return Response(content, media_type=media_type, headers=headers)


def _list_documents(state: ModelState) -> set[str]:
    return set() if state.model is None else set(state.model.scorer.manifest.content["files"])
