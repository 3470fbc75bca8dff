"""Decode tensors of the Open Inference Protocol to the raw matrix. Independent of HTTP.

A request has one input tensor per feature with one element per customer, as JSON or as binary data after the JSON (the
extension `binary_tensor_data`). docs/open-inference.md describes the protocol.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from churn.errors import InvalidCustomersError
from churn.names import normalize
from churn.reasons.strongest import ALLOWED as ALLOWED_REASONS
from churn.reasons.strongest import read_wanted
from service.errors import Problem, RequestProblem, shorten
from service.guard.json_limits import JsonLimits, check_json
from service.oip.elements import (
    ACCEPTED,
    SentTensors,
    Tensor,
    invalid_tensors,
    read_identifiers,
    wrong_tensor,
)
from service.oip.outputs import OUTPUTS, REASON_OUTPUTS, REASONS
from service.predict.parse import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from churn.errors import Violation
    from churn.feature import Feature
    from churn.reasons.strongest import Wanted
    from churn.schema import Schema

MAX_FAULTS = 10
"""Maximum number of invalid values in an error, which is a single string in this protocol."""

SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
"""Parameters of Triton's extension for stateful models."""


class WantedOutput(msgspec.Struct):
    """A requested output."""

    name: str
    parameters: dict[str, Any] | None = None


class Inference(msgspec.Struct):
    """The JSON part of a request; other fields of the protocol are ignored."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[WantedOutput] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request.

    Attributes
    ----------
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    outputs : mapping of str to bool
        The requested outputs in order, and whether each is returned as binary data.
    id : str or None
        Returned with the response.
    wanted : int, "all" or None
        Number of reasons for each customer.
    identifiers : list of (str, int or None), length n, or None
        Identifiers of the customers; None if none was sent.
    tensors : SentTensors
        The features as they were sent.
    """

    raw: NDArray[np.float64]
    outputs: Mapping[str, bool]
    id: str | None
    wanted: Wanted | None
    identifiers: list[str | int | None] | None
    tensors: SentTensors


_decode = msgspec.json.Decoder(Inference).decode


def read_request(
    schema: Schema,
    body: bytes,
    json_size: int | None,
    max_customers: int,
    limits: JsonLimits = JsonLimits(),  # noqa: B008  immutable
) -> Request:
    """Parse and validate the body of a request.

    Parameters
    ----------
    schema : Schema
    body : bytes
    json_size : int or None
        Length of the JSON part, if binary data may follow it.
    max_customers : int
    limits : JsonLimits, optional

    Raises
    ------
    Problem
        400 if the body is not JSON or the tensors don't match the model, 413 if the JSON exceeds the limits or there
        are too many customers, 422 with the values that can't be scored.
    """
    if json_size is not None and not 0 <= json_size <= len(body):
        raise invalid_tensors(f"the JSON part should have {json_size} bytes, but the body has {len(body)}")
    inference = _read_json(body if json_size is None else body[:json_size], limits)
    for tensor in inference.inputs:
        tensor.name = normalize(tensor.name)
    rows = _count_rows(inference.inputs, max_customers)
    tensors = _index(schema, inference.inputs)
    binary = _split(inference.inputs, memoryview(body)[len(body) if json_size is None else json_size :])
    wanted = _read_wanted(inference)
    outputs = _read_outputs(inference, OUTPUTS if wanted is None else OUTPUTS | REASON_OUTPUTS)
    named = tensors.pop(schema.identifier, None)
    identifiers = None if named is None else read_identifiers(named, binary.get(named.name), rows)
    sent = SentTensors(tensors, binary, rows)
    try:
        raw = sent.encode(schema)
    except InvalidCustomersError as error:
        raise _invalid_customers(error.violations) from None
    return Request(raw, outputs, inference.id, wanted, identifiers, sent)


def describe_inputs(schema: Schema) -> list[dict[str, Any]]:
    """Return name, preferred datatype and shape of each input tensor."""
    return [{"name": f.name, "datatype": _preferred_datatype(f), "shape": [-1]} for f in schema.features]


def _preferred_datatype(feature: Feature) -> str:
    if feature.is_text:
        return "BYTES"
    if feature.nullable:  # NaN represents a missing value, and only floats can be NaN
        return "FP64"
    return {"number": "FP64", "integer": "INT64", "flag": "BOOL"}[feature.kind]


def _read_json(head: bytes, limits: JsonLimits) -> Inference:
    check_json(head, limits)
    try:
        return _decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    # Either invalid, or with NaN, which is not JSON but sent by clients; the error messages are better here, too.
    try:
        return msgspec.convert(parse_json(head), Inference)
    except msgspec.ValidationError as error:
        raise invalid_tensors(f"not an inference request: {error}") from None


def _index(schema: Schema, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the tensors by name after checking names and datatypes."""
    features = {feature.name: feature for feature in schema.features}
    tensors = {tensor.name: tensor for tensor in inputs}
    if len(tensors) < len(inputs):
        raise invalid_tensors("two inputs have the same name")
    for tensor in inputs:
        if tensor.name == schema.identifier:
            continue
        if tensor.name not in features:
            raise invalid_tensors(f"input {shorten(tensor.name)!r} is not one of this model's: {', '.join(features)}")
        accepted = ACCEPTED[features[tensor.name].kind]
        if tensor.datatype not in accepted:
            raise wrong_tensor(tensor, f"datatype {shorten(tensor.datatype)!r}; allowed: {', '.join(accepted)}")
    missing = [name for name, feature in features.items() if not feature.nullable and name not in tensors]
    if missing:
        raise invalid_tensors(f"inputs are missing: {', '.join(missing)}")
    return tensors


def _count_rows(inputs: Sequence[Tensor], max_customers: int) -> int:
    if not inputs:
        raise invalid_tensors("a request needs at least one input")
    rows = inputs[0].shape[0] if inputs[0].shape else -1
    for tensor in inputs:
        if rows < 0 or tensor.shape not in ([rows], [rows, 1]):
            raise wrong_tensor(
                tensor, f"shape {shorten(str(tensor.shape))}; allowed: [n] or [n, 1], n customers in every input"
            )
    if rows > max_customers:
        raise RequestProblem.too_many_customers(rows, max_customers)
    return rows


def _split(inputs: Sequence[Tensor], tail: memoryview) -> dict[str, memoryview]:
    """Return the binary data of each tensor."""
    parts, start = {}, 0
    for tensor in inputs:
        parameters = tensor.parameters or {}
        if "shared_memory_region" in parameters:
            raise wrong_tensor(tensor, "shared memory, which is not supported")
        if ("binary_data_size" in parameters) == (tensor.data is not msgspec.UNSET):
            raise wrong_tensor(tensor, "not exactly one of data and binary_data_size")
        if "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if type(size) is not int or not 0 <= size <= len(tail) - start:
                raise wrong_tensor(tensor, f"binary_data_size {shorten(size)!r}; {len(tail) - start} bytes are left")
            parts[tensor.name] = tail[start : start + size]
            start += size
    if start != len(tail):
        raise invalid_tensors(f"{len(tail) - start} bytes follow the last input's binary data")
    return parts


def _read_wanted(inference: Inference) -> Wanted | None:
    sent = (inference.parameters or {}).get(REASONS)
    if sent is None:
        return None
    if type(sent) in (int, str):
        with suppress(ValueError):
            return read_wanted(str(sent))
    raise invalid_tensors(f"the parameter {REASONS} is {shorten(sent)!r}; allowed: {ALLOWED_REASONS}")


def _read_outputs(inference: Inference, produced: Mapping[str, str]) -> dict[str, bool]:
    requested = inference.parameters or {}
    for extension in SEQUENCES:
        if requested.get(extension):  # clients send 0 and false for "no sequence"
            raise invalid_tensors(f"the request has {extension}, and this service does not have sequences")
    is_binary = requested.get("binary_data_output") is True
    wanted = inference.outputs or [WantedOutput(name) for name in produced]
    outputs = {}
    for output in wanted:
        if output.name in REASON_OUTPUTS and output.name not in produced:
            raise invalid_tensors(f"output {output.name} requires the parameter {REASONS}: {ALLOWED_REASONS}")
        if output.name not in produced:
            raise invalid_tensors(f"output {shorten(output.name)!r} is not one of this model's: {', '.join(produced)}")
        parameters = output.parameters or {}
        for extension in ("classification", "shared_memory_region"):
            if extension in parameters:
                raise invalid_tensors(f"output {output.name} requests {extension}, which is not supported")
        outputs[output.name] = parameters.get("binary_data", is_binary) is True
    return outputs


def _invalid_customers(violations: Sequence[Violation]) -> Problem:
    faults = [
        f"customer {v.row}: {v.field} {v.reason}: sent {shorten(v.sent)!r}, allowed: {v.allowed}"
        for v in violations[:MAX_FAULTS]
    ]
    if len(violations) > MAX_FAULTS:
        faults.append("and more")
    return Problem(422, "invalid-customers", "Some values are invalid", "; ".join(faults))
