"""Routes for records: found by customer or request, and scored again. They exist only if ``CHURN_RECORDS`` is set."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StrictInt, StrictStr, model_validator

from churn.errors import ChurnError, TableError
from churn.trust.signatures import Trust
from service.api.openapi import describe_problems
from service.api.small_body import limit_bodies
from service.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from churn.scorer import Scorer
    from records.decision import Record
    from records.find import Page
    from records.store import RecordStore
    from service.api.small_body import BodyLimits
    from service.settings import Settings

MAX_PAGE = 100
"""Maximum number of records in a response."""

_PROBLEMS = {
    400: "A time, the cursor, the customer or the request is none, or neither a customer nor a request is named.",
    503: "The store of records can't be read.",
}


class RecordAnswer(BaseModel):
    """What was said of one customer, when, by what and why."""

    time: str = Field(description="When the answer was ready, UTC.", examples=["2026-03-01T12:00:00.000000Z"])
    request_id: str = Field(description="As in the response's header X-Request-ID.")
    key: str | None = Field(description="Name of the API key or token; null if there was none.")
    customer_id: str | None = Field(description="Identifier as text; null if none was sent, or if it was erased.")
    input: Any = Field(description="The customer as it was sent; null if it was erased.")
    probability: float = Field(examples=[0.1234])
    churn: bool
    threshold: float
    model_version: str = Field(examples=["1"])
    manifest_sha256: str
    engine: str = Field(examples=["onnx"])
    reasons: Any = Field(description="Null if they were not asked for, or if they were erased.")
    writer: int = Field(description="The chain.")
    sequence: int = Field(description="Place in the chain.")


class RecordsAnswer(BaseModel):
    """Records, the newest first."""

    records: list[RecordAnswer]
    next: str | None = Field(description="Cursor of the next page; null if this is the last one.")


class ReplayRequest(BaseModel):
    """Whose records are to be scored again: the newest 100 of a request or of a customer."""

    request: str | None = None
    customer: StrictStr | StrictInt | None = None  # true is not customer 1

    @model_validator(mode="after")
    def _one_is_named(self) -> ReplayRequest:
        if (self.request is None) == (self.customer is None):
            raise ValueError("give a request or a customer")
        return self


class ReplayedRecord(BaseModel):
    """A record and what its version says now."""

    request_id: str
    customer_id: str | None
    recorded: float
    replayed: float | None = Field(description="Null if it could not be scored again.")
    same: bool
    reason: str | None = Field(description="Why it could not be scored again.")


class ReplayAnswer(BaseModel):
    """Records that were scored again."""

    replayed: int = Field(description="Records that were scored again.")
    different: int = Field(description="Those whose probability or decision is another one.")
    records: list[ReplayedRecord]


class RecordReader:
    """Reads the store of a service, in a thread.

    Parameters
    ----------
    settings : Settings
        With `records`.
    find_scorers : callable
        Returns the scorers that are loaded.
    """

    def __init__(self, settings: Settings, find_scorers: Callable[[], list[Scorer]]) -> None:
        self._url = str(settings.records)
        self._models = settings.models
        self._engine = settings.engine
        self._keys = settings.trusted_keys
        self._find_scorers = find_scorers
        self._store: RecordStore | None = None

    def open(self) -> RecordStore:
        """Return the store.

        Raises
        ------
        TableError
            If it can't be opened.
        """
        from records.store import open_store  # with SQLAlchemy, which a service loads with the first such request

        if self._store is None:
            self._store = open_store(self._url)
        return self._store

    def find(self, **wanted: Any) -> Page:  # noqa: ANN401  parameters of `records.find.find`
        """Return a page of records; see `records.find.find`."""
        from records.find import find

        return find(self.open(), **wanted)

    def replay(self, **wanted: Any) -> ReplayAnswer:  # noqa: ANN401  likewise
        """Score the records that `find` returns again."""
        from records.replay import Replayer, Tally

        known = {str(one.manifest.content["manifest_sha256"]): one for one in self._find_scorers()}
        replayer = Replayer(self._models, self._engine, Trust(self._keys), known)
        results = replayer.replay(self.find(**wanted).records)
        tally = Tally()
        tally.add(results)
        return ReplayAnswer(
            replayed=tally.replayed,
            different=tally.differences,
            records=[
                ReplayedRecord(
                    request_id=one.record.request_id,
                    customer_id=one.record.customer_id,
                    recorded=one.record.probability,
                    replayed=one.probability,
                    same=one.is_same,
                    reason=one.reason or None,
                )
                for one in results
            ],
        )


def make_router(reader: RecordReader, bodies: BodyLimits) -> APIRouter:
    """Create the routes.

    Parameters
    ----------
    reader : RecordReader
    bodies : BodyLimits
    """
    router = APIRouter(prefix="/records", tags=["records"], route_class=limit_bodies(bodies))
    problems: Any = describe_problems(_PROBLEMS)

    @router.get("", summary="What was said of a customer or in a request", responses=problems)
    async def find_records(
        customer: Annotated[str | None, Query(description="Identifier of the customer.")] = None,
        request: Annotated[str | None, Query(description="Identifier of the request.")] = None,
        since: Annotated[str | None, Query(description="Earliest time: 2026-03-01, with a time, or 30d.")] = None,
        until: Annotated[str | None, Query(description="First time that is too late.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
        cursor: Annotated[str | None, Query(description="From the page before.")] = None,
    ) -> RecordsAnswer:
        if customer is None and request is None:
            raise _invalid("give customer or request")
        wanted = {"customer": customer, "request": request, "limit": limit, "cursor": cursor}
        page = await _ask(reader.find, **wanted, since=_read_time(since), until=_read_time(until))
        return RecordsAnswer(records=[_describe(record) for record in page.records], next=page.next)

    @router.post("/replay", summary="Score recorded inputs again with their version", responses=problems)
    async def replay_records(wanted: ReplayRequest) -> ReplayAnswer:
        answer: ReplayAnswer = await _ask(reader.replay, customer=wanted.customer, request=wanted.request)
        return answer

    return router


def _describe(record: Record) -> RecordAnswer:
    from records.show import to_plain

    return RecordAnswer(**to_plain(record))


def _read_time(text: str | None) -> int | None:
    from records.times import parse

    try:
        return None if text is None else parse(text)
    except TableError as error:
        raise _invalid(str(error)) from None


async def _ask(function: Callable[..., Any], **wanted: Any) -> Any:  # noqa: ANN401  what the function returns
    try:
        return await asyncio.to_thread(function, **wanted)
    except ChurnError as error:
        from records.decision import QuestionError

        if isinstance(error, QuestionError):
            raise _invalid(str(error)) from None
        raise Problem(503, "records-unavailable", "The records can't be read", str(error)) from None


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid-parameter", "A parameter is invalid", detail)
