"""Hand scored requests to the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.observe.scored import ScoredSingle

if TYPE_CHECKING:
    from churn.leniency import Leniency
    from service.keeping.log import DecisionLog
    from service.observe.scored import Scored
    from service.predict.reasoned import ReasonedRequest


def record_scored(
    log: DecisionLog, request_id: str, key: str | None, body: bytes, scored: Scored, read_as: str | None = None
) -> None:
    """Record a scored request without reasons.

    Parameters
    ----------
    log : DecisionLog
    request_id : str
    key : str or None
        Who has sent it.
    body : bytes
        JSON, as it was sent and decompressed.
    scored : Scored
    read_as : str, optional
        See `name_leniency`.
    """
    if isinstance(scored, ScoredSingle):
        origin = scored.recorder.origin
        log.add_single(request_id, key, scored.identifier, body, scored.probability, origin, read_as=read_as)
    else:
        probabilities, origins = scored.list_scored()
        log.add_many(request_id, key, scored.identifiers, body, probabilities, origins, read_as=read_as)


def record_reasoned(
    log: DecisionLog, request_id: str, key: str | None, reasoned: ReasonedRequest, read_as: str | None
) -> None:
    """Record a request with reasons, which were computed."""
    probabilities, origins = reasoned.list_scored()
    if reasoned.is_single:
        identifier, reasons = reasoned.identifiers[0], reasoned.reasons[0]
        log.add_single(
            request_id, key, identifier, reasoned.body, probabilities[0], origins[0], reasons, read_as=read_as
        )
    else:
        log.add_many(
            *(request_id, key, reasoned.identifiers, reasoned.body, probabilities, origins),
            reasons=reasoned.reasons,
            read_as=read_as,
        )


def name_leniency(leniency: Leniency) -> str | None:
    """Return the query parameters that a body was read with, as records have them; None without any that matter."""
    if not leniency.parses_texts:
        return None
    return "texts=parse" + (f"&decimal={leniency.decimal}" if leniency.decimal != "." else "")
