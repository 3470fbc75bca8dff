"""The outputs of the Open Inference Protocol, and the encoding of responses. Independent of HTTP."""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

MODEL_NAME = "churn"
PROBABILITY, CHURN = "probability", "churn"
OUTPUTS: dict[str, str] = {PROBABILITY: "FP64", CHURN: "BOOL"}

REASONS = "reasons"
"""Parameter of a request with the number of reasons, and the output with their fields."""

REASON_OUTPUTS: dict[str, str] = {
    "base": "FP64",
    REASONS: "BYTES",
    "reason_points": "FP64",
    "reason_sentences": "BYTES",
    "reason_standard_errors": "FP64",
    "support_share": "FP64",
    "support_field": "BYTES",
    "support_low": "FP64",
    "support_high": "FP64",
    "support_sentence": "BYTES",
}
"""Outputs that are produced if the request has the parameter."""

VERSION = "model_version"
"""Output with the version that scored each customer, if two have."""

_LENGTH = struct.Struct("<I")

_encode = msgspec.json.Encoder().encode


def encode_answer(
    wanted: Mapping[str, bool],
    request_id: str | None,
    version: str,
    probabilities: NDArray[np.float64],
    decisions: NDArray[np.bool_],
    reasons: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    versions: NDArray[Any] | None = None,
) -> tuple[bytes, int | None]:
    """Return the body of the response, and the length of its JSON part if binary data follow.

    Parameters
    ----------
    wanted : mapping of str to bool
        The requested outputs in order, and whether each is returned as binary data.
    request_id : str or None
        Returned if it is not None.
    version : str
        Of the model.
    probabilities : ndarray of float64, shape (customers,)
    decisions : ndarray of bool, shape (customers,)
    reasons : mapping of str to ndarray, optional
        The outputs of `REASON_OUTPUTS`, of shape (customers,) or (customers, reasons).
    versions : ndarray of str, shape (customers,), optional
        Returned as a further output, as binary data if all others are.
    """
    values: dict[str, NDArray[Any]] = {PROBABILITY: probabilities, CHURN: decisions, **reasons}
    if versions is not None:
        values[VERSION], wanted = versions, {**wanted, VERSION: all(wanted.values())}
    outputs, tail = [], []
    for name, is_binary in wanted.items():
        datatype = "BYTES" if name == VERSION else (OUTPUTS | REASON_OUTPUTS)[name]
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values[name].shape)}
        if is_binary:
            tail.append(_write_binary(values[name], datatype))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = values[name].reshape(-1).tolist()
        outputs.append(output)
    answer: dict[str, Any] = {"model_name": MODEL_NAME, "model_version": version, "outputs": outputs}
    if request_id is not None:
        answer["id"] = request_id
    head = _encode(answer)
    return (b"".join([head, *tail]), len(head)) if tail else (head, None)


def _write_binary(values: NDArray[Any], datatype: str) -> bytes:
    if datatype != "BYTES":
        return values.astype("<f8" if datatype == "FP64" else "?").tobytes()
    texts = [text.encode() for text in values.reshape(-1).tolist()]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


def describe_outputs() -> list[dict[str, Any]]:
    """Return name, datatype and shape of each output tensor."""
    return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in OUTPUTS.items()]
