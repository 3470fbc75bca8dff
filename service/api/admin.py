"""Routes that change the served models. They exist only if ``CHURN_ADMIN`` is true, and need the scope admin."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
from fastapi import APIRouter, Path, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, Field, StrictFloat, StrictInt

from churn.errors import ChurnError
from service.api.model import LastChange, describe_change
from service.api.openapi import describe_problems
from service.api.small_body import limit_bodies
from service.errors import Problem
from service.rollout.messages import Wish

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

    from churn.registry import Registry
    from service.api.small_body import BodyLimits
    from service.observe.audit import AuditLog
    from service.rollout.messages import Change, Lineup

_PROBLEMS = {
    409: "The change was not made; the detail says why. The previous models are still served.",
    503: "The change took too long; it may still be made, see GET /model.",
}

MAX_VERSION = 10**15 - 1
"""No folder of models has as many; larger numbers would not be exact in every client."""


def read_version(text: object) -> object:
    """Return the number in a path if it is written as the folder of a version is, so that no other spelling means one.

    Raises
    ------
    ValueError
        If it is written in any other way, e.g. as +2, 1_0 or 02.
    """
    if not isinstance(text, str) or not _is_version(text):
        raise ValueError(f"allowed: a number from 1 to {MAX_VERSION}")
    return int(text)


def read_number(value: object) -> object:
    """Return the number for a version in a body that is a text, as answers have it; leave all else to be judged."""
    return int(value) if isinstance(value, str) and _is_version(value) else value


_is_version = re.compile("[1-9][0-9]{0,14}").fullmatch

Version = Annotated[
    int, BeforeValidator(read_version), Path(description="Version of the model.", ge=1, le=MAX_VERSION, examples=[2])
]


class Versions(BaseModel):
    """The versions in the folder of the models, and what is served."""

    versions: list[str] = Field(description="All versions, in ascending order.", examples=[["1", "2"]])
    current: str | None = Field(description="The version that the file `current` names.", examples=["1"])
    served: str | None = Field(description="The version that is being served.", examples=["1"])
    shadow: str | None = Field(description="Version that scores the same customers for comparison.")
    canary: str | None = Field(description="Version that scores a share of the customers.")
    canary_share: float = Field(description="Its share, from 0 to 1.", examples=[0.0])


class ShadowRequest(BaseModel):
    """The model to compare with the served one."""

    version: Annotated[
        StrictInt,
        BeforeValidator(read_number),
        Field(ge=1, le=MAX_VERSION, description="Version of the model.", examples=[2]),
    ]


class CanaryRequest(ShadowRequest):
    """The model that scores a share of the customers."""

    share: Annotated[StrictFloat, Field(ge=0, le=1, description="Its share of the customers.", examples=[0.1])]


class Asking(Protocol):
    """A way to the coordinator of the changes."""

    async def ask(self, wish: Wish, seconds: float) -> Change:
        """Request a change, and wait until it has been made or has failed; TimeoutError if it takes longer."""


class Changes:
    """Requests changes of the served models.

    Parameters
    ----------
    models : Asking
    seconds : float
        Maximum time for a change.
    audit : AuditLog
    """

    def __init__(self, models: Asking, seconds: float, audit: AuditLog) -> None:
        self._models = models
        self._audit = audit
        self._seconds = seconds

    async def make(self, wish: Wish) -> LastChange | Response:
        """Request a change, and respond when it has been made or has failed."""
        asked = {name: value for name, value in msgspec.structs.asdict(wish).items() if value is not None}
        try:
            change = await self._models.ask(wish, self._seconds)
        except TimeoutError:
            self._audit.record("models changed", **asked, outcome="pending")
            detail = f"the change was not completed within {self._seconds:g} s; GET /model shows when it is"
            return Problem(503, "change-pending", "The change takes long", detail).respond()
        self._audit.record("models changed", **asked, outcome=change.outcome)
        if change.outcome == "failed":
            reason = change.reason or "see the log"
            return Problem(409, "change-failed", "The served models are unchanged", reason).respond()
        return describe_change(change)


def make_router(
    find_lineup: Callable[[], Lineup | None], changes: Changes, registry: Registry, bodies: BodyLimits
) -> APIRouter:
    """Create the routes.

    Parameters
    ----------
    find_lineup : callable
        Returns what is served; None if nothing is.
    changes : Changes
    registry : Registry
    bodies : BodyLimits
    """
    router = APIRouter(prefix="/admin", tags=["admin"], route_class=limit_bodies(bodies))
    form: dict[str, Any] = {
        "response_model": LastChange,
        "response_model_exclude_none": True,
        "responses": describe_problems(_PROBLEMS),
    }

    @router.get("/models", summary="The versions, and what is served")
    async def list_models() -> Versions:
        return await asyncio.to_thread(describe_versions, find_lineup(), registry)

    @router.post("/models/rollback", summary="Serve the previously current version", **form)
    async def roll_back() -> LastChange | Response:
        return await changes.make(Wish("rollback"))

    @router.post("/models/{version}/promote", summary="Serve a version, and make it current", **form)
    async def promote(version: Version) -> LastChange | Response:
        return await changes.make(Wish("promote", version))

    @router.put("/shadow", summary="Have a version score the same customers for comparison", **form)
    async def set_shadow(shadow: ShadowRequest) -> LastChange | Response:
        return await changes.make(Wish("shadow", shadow.version))

    @router.delete("/shadow", summary="End the comparison", **form)
    async def end_shadow() -> LastChange | Response:
        return await changes.make(Wish("shadow"))

    @router.put("/canary", summary="Have a version score a share of the customers", **form)
    async def set_canary(canary: CanaryRequest) -> LastChange | Response:
        return await changes.make(Wish("canary", canary.version, canary.share))

    @router.delete("/canary", summary="Have the served model score all customers", **form)
    async def end_canary() -> LastChange | Response:
        return await changes.make(Wish("canary"))

    return router


def describe_versions(lineup: Lineup | None, registry: Registry) -> Versions:
    """Describe the folder of the models, and what is served."""
    shadow, canary = (None, None) if lineup is None else (lineup.shadow, lineup.canary)
    try:
        current: str | None = str(registry.current())
    except ChurnError:
        current = None
    return Versions(
        versions=[str(version) for version in registry.versions()],
        current=current,
        served=None if lineup is None else str(lineup.champion.version),
        shadow=None if shadow is None else str(shadow.version),
        canary=None if canary is None else str(canary.version),
        canary_share=0.0 if lineup is None else lineup.share,
    )


async def respond_to_invalid_request(_request: Request, error: Exception) -> Response:
    """Respond to a request whose parameters or body are not valid."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return Problem(422, "invalid-request", "The request is invalid", "; ".join(faults)).respond()
