"""The inputs and outputs that a network must have, and messages of the libraries that run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from churn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_MESSAGE = 500


def in_one_line(error: Exception) -> str:
    """Return the message of a library's error, without line breaks and not longer than `MAX_MESSAGE` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


def check_form(
    path: Path, inputs: Sequence[tuple[str, Sequence[Any]]], outputs: Sequence[tuple[str, Sequence[Any]]]
) -> None:
    """Raise an error unless a network takes one float32 matrix and returns one number for each of its rows.

    Parameters
    ----------
    path : Path
        File of the network.
    inputs, outputs : sequence of (type, shape)

    Raises
    ------
    EngineError
        If it does not; the message has the types and shapes, as ONNX Runtime names them.
    """
    shapes = [tuple(shape) for _, shape in (*inputs, *outputs)]
    if (
        (len(inputs), len(outputs)) != (1, 1)
        or inputs[0][0] != "tensor(float)"
        or outputs[0][0] not in ("tensor(float)", "tensor(double)")
        or len(shapes[0]) != 2
        or not (len(shapes[1]) == 1 or (len(shapes[1]) == 2 and shapes[1][1] == 1))
        or not all(isinstance(shape[0], str | None) for shape in shapes)
    ):
        shown = " and ".join(
            f"{', '.join(f'{kind}{list(shape)}' for kind, shape in ends) or 'no'} {name}"
            for ends, name in ((inputs, "as input"), (outputs, "as output"))
        )
        raise EngineError(
            f"{path}: the network has {shown}; allowed: one float32 matrix of any number of rows, and one float32 or "
            "float64 number for each row"
        )
