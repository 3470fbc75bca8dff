"""The route of the last judgement of recorded decisions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from churn.errors import ChurnError
from service.api.openapi import describe_problems
from service.errors import Problem

if TYPE_CHECKING:
    from service.observe.performance import Performance

PROBLEMS = {
    404: "Nothing is recorded (CHURN_RECORDS), or nothing has been judged yet (churn records judge).",
    503: "The store of records can't be read.",
}


class Bounds(BaseModel):
    """A number with its 95 % interval; null if it is undefined."""

    value: float | None
    low: float | None
    high: float | None


class MonthReport(BaseModel):
    """The customers with a record in a calendar month, in UTC."""

    month: str = Field(examples=["2026-03"])
    customers: int = Field(description="Customers with a record.")
    judged: int = Field(description="Those whose outcome is known.")
    open: int = Field(description="Those whose horizon ends after the newest outcome.")
    unknown: int = Field(description="Those whose outcome is not known, although their horizon is over.")
    measures: dict[str, Any] = Field(description="Of the judged customers: counts, and numbers with their intervals.")
    expected: dict[str, Any] = Field(description="What was to be expected of the judged customers.")
    expected_of_all: dict[str, Any] = Field(description="What is to be expected of all customers.")
    versions: dict[str, Any] = Field(description="`measures` and `expected` by version of the model.")
    groups: list[dict[str, Any]] = Field(description="`measures` by category or flag.")


class PerformanceReport(BaseModel):
    """The last judgement of recorded decisions."""

    form: int
    time: str = Field(description="When it was made.")
    horizon_days: int
    known_until: str | None = Field(description="Date of the newest outcome.")
    rule: str = Field(description="Which records are judged, and by what.")
    assumption: str = Field(description="On which the expected numbers depend.")
    training: dict[str, Any] = Field(description="Metrics of customers held out in training, by version.")
    months: list[MonthReport]
    versions: dict[str, Any]
    total: dict[str, Any]


def make_router(performance: Performance | None) -> APIRouter:
    """Create the route.

    Parameters
    ----------
    performance : Performance or None
        None if nothing is recorded.
    """
    router = APIRouter(tags=["model"])

    @router.get(
        "/performance",
        summary="Last judgement of recorded decisions",
        response_model=PerformanceReport,
        responses=describe_problems(PROBLEMS),  # type: ignore[arg-type]
    )
    async def performance_report() -> Response:
        if performance is None:
            detail = "nothing is recorded; set CHURN_RECORDS, load outcomes, and run churn records judge"
            return Problem(404, "no-judgement", "There is no judgement", detail).respond()
        try:
            found = await asyncio.to_thread(performance.read)
        except ChurnError as error:
            return Problem(503, "records-unreadable", "The store of records can't be read", str(error)).respond()
        if found is None:
            detail = "nothing has been judged yet; load outcomes, and run churn records judge"
            return Problem(404, "no-judgement", "There is no judgement", detail).respond()
        return JSONResponse(found)

    return router
