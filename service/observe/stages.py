"""Stages of a scored request and their timestamps, as passed from scoring to metrics and traces."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Rows = TypeVar("Rows")
Matrix = TypeVar("Matrix")
Probabilities = TypeVar("Probabilities")
Request = TypeVar("Request")
Response = TypeVar("Response")

Stamps = tuple[float, float, float, float, float, float]
"""Times at which a request was received, parsed, started (after waiting for the engine), preprocessed, inferred and
serialised, from `time.perf_counter`."""

STAMPS = 6

STAGES = ("parse", "queue", "preprocess", "inference", "serialise")
"""Names of the intervals between consecutive timestamps."""


def run_stages(
    prepare: Callable[[Rows], Matrix],
    infer: Callable[[Matrix], Probabilities],
    encode: Callable[[Request, Probabilities], Response],
    rows: Rows,
    request: Request,
    received: float,
    parsed: float,
) -> tuple[Response, Probabilities, Stamps]:
    """Score the checked rows of a request: the one scoring call, whatever the request's form.

    Parameters
    ----------
    prepare, infer : callable
        Of the scorer, for one row or for several.
    encode : callable
        Called with `request` and the probabilities; returns the response.
    rows, request
        What `prepare` and `encode` are called with.
    received, parsed : float
        The first two stamps.

    Returns
    -------
    response, probabilities, stamps
    """
    started = perf_counter()
    matrix = prepare(rows)
    prepared = perf_counter()
    probabilities = infer(matrix)
    inferred = perf_counter()
    response = encode(request, probabilities)
    return response, probabilities, (received, parsed, started, prepared, inferred, perf_counter())
