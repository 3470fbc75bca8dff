"""Parse and validate request bodies: the reference implementation, which creates all error messages.

`service.predict.fast_parse` parses valid requests much faster, and passes all others to this module.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churn.columns import MAX_VIOLATIONS
from churn.feature import InvalidValueError
from churn.leniency import STRICT, Leniency
from churn.names import ALLOWED_IDENTIFIER, BATCH, IDENTIFIER_LIMIT, normalize_keys
from service.errors import RequestProblem, shorten
from service.guard.json_limits import JsonLimits, check_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema

MAX_INTEGER_DIGITS = 400
"""Integers with more digits exceed the range of float64; Python refuses to parse more than 4,300 digits."""

ALLOWED_BODY = 'one customer as an object, or {"customers": [customer, ...]}'


class SingleRequest(NamedTuple):
    """A valid request with one customer.

    Attributes
    ----------
    row : sequence of float, length features
        Row of the raw matrix of `churn.columns`.
    identifier : str, int or None
        Identifier of the customer; None if it was not sent.
    may_be_unusual : bool
        False only if all values are known to lie in the range seen in training.
    """

    row: Sequence[float]
    identifier: str | int | None = None
    may_be_unusual: bool = True


class BatchRequest(NamedTuple):
    """A valid request with any number of customers.

    Attributes
    ----------
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    identifiers : list of (str, int or None), length n, or None
        Identifiers of the customers; None if none was sent.
    may_be_unusual : bool
        See `SingleRequest`.
    """

    raw: NDArray[np.float64]
    identifiers: list[str | int | None] | None = None
    may_be_unusual: bool = True


def parse(
    schema: Schema,
    body: bytes,
    max_customers: int,
    leniency: Leniency = STRICT,
    limits: JsonLimits = JsonLimits(),  # noqa: B008  immutable
) -> SingleRequest | BatchRequest:
    """Parse and validate a request's body.

    Parameters
    ----------
    schema : Schema
    body : bytes
    max_customers : int
        Maximum number of customers in one request.
    leniency : Leniency, optional
        Options that relax validation. Defaults to strict validation.
    limits : JsonLimits, optional

    Raises
    ------
    RequestProblem
        400 if the body is not JSON, 413 if it exceeds the limits or has too many customers, 422 if values are invalid,
        with the first `MAX_VIOLATIONS`.
    """
    check_json(body, limits)
    data = parse_json(body)
    if not isinstance(data, dict):
        raise RequestProblem.invalid([_error(None, None, "is not an object", data, ALLOWED_BODY)], more=False)
    is_single = BATCH not in data
    errors: list[dict[str, Any]] = []
    if is_single:
        customers: Any = [data]
    else:
        customers = data[BATCH]
        errors += [_unknown(None, key, data[key], BATCH) for key in data if key != BATCH and not leniency.ignores_extra]
        if not isinstance(customers, list):
            errors.append(_error(None, BATCH, "is not a list", customers, ALLOWED_BODY))
            customers = []
    if len(customers) > max_customers:
        raise RequestProblem.too_many_customers(len(customers), max_customers)
    request = _read_customers(schema, iter(customers), errors, leniency)
    if is_single:
        return SingleRequest(request.raw[0].tolist(), request.identifiers[0] if request.identifiers else None)
    return request


def parse_parts(
    schema: Schema,
    parts: Sequence[bytes],
    first: int,
    max_customers: int,
    leniency: Leniency = STRICT,
    limits: JsonLimits = JsonLimits(),  # noqa: B008  immutable
) -> BatchRequest:
    """Parse and validate lists of customers, one at a time; errors are numbered as if they were one list.

    Parameters
    ----------
    schema : Schema
    parts : sequence of bytes
        JSON lists.
    first : int
        Number of the customers before them.
    max_customers : int
        Maximum number of customers, including those before.
    leniency, limits
        See `parse`.

    Raises
    ------
    RequestProblem
        See `parse`; 400 has the position in the part.
    """

    def read() -> Iterator[object]:
        known = first
        for place, part in enumerate(parts):
            check_json(part, limits)
            customers = parse_json(part)
            known += len(customers)
            if known > max_customers:
                raise RequestProblem.too_many_customers(known + count_objects(parts[place + 1 :]), max_customers)
            yield from customers

    return _read_customers(schema, read(), [], leniency, first)


def count_objects(parts: Sequence[bytes]) -> int:
    """Return the number of customers in JSON lists, if there are no braces in their texts."""
    return sum(part.count(b"{") for part in parts)


def _read_customers(
    schema: Schema, customers: Iterator[object], errors: list[dict[str, Any]], leniency: Leniency, first: int = 0
) -> BatchRequest:
    """Validate customers; the first one has the number `first` in errors, which are added to `errors`.

    Raises
    ------
    RequestProblem
        422 if there are errors.
    """
    rows, identifiers = [], []
    for position, customer in enumerate(customers, first):
        rows.append(_parse_customer(schema, position, customer, errors, leniency))
        if len(errors) > MAX_VIOLATIONS:
            break
        if not errors and isinstance(customer, dict):
            name = leniency.name_fields(normalize_keys(customer)).get(schema.identifier)
            identifiers.append(_read_identifier(name))
    if errors:
        raise RequestProblem.invalid(errors[:MAX_VIOLATIONS], more=len(errors) > MAX_VIOLATIONS)
    raw = np.array(rows, dtype=np.float64).reshape(len(rows), len(schema.features))
    return BatchRequest(raw, identifiers if any(name is not None for name in identifiers) else None)


def parse_json(body: bytes) -> Any:  # noqa: ANN401  a JSON value
    """Parse JSON; NaN and Infinity are accepted here, so that validation can report the field.

    Raises
    ------
    RequestProblem
        400 with line and column of the error.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestProblem.malformed(f"not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    try:
        return json.loads(text, parse_int=_parse_integer)
    except json.JSONDecodeError as error:
        raise RequestProblem.malformed(f"{error.msg}: line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise RequestProblem.malformed("lists and objects are nested too deeply") from None


def _parse_integer(text: str) -> int | float:
    return int(text) if len(text) <= MAX_INTEGER_DIGITS else float(text)


def _parse_customer(
    schema: Schema, position: int, customer: object, errors: list[dict[str, Any]], leniency: Leniency
) -> list[float]:
    if not isinstance(customer, dict):
        errors.append(_error(position, None, "is not an object", customer, "a customer: " + ", ".join(schema.names)))
        return []
    customer = normalize_keys(customer)
    row = []
    fields = leniency.name_fields(customer)
    for feature in schema.features:
        value = fields.get(feature.name)
        try:
            row.append(leniency.read(feature, value))
        except InvalidValueError as error:
            errors.append(_error(position, feature.name, str(error), value, feature.allowed))
    errors += _check_others(schema, position, fields, ignores_extra=leniency.ignores_extra)
    return row


def _check_others(
    schema: Schema, position: int, customer: Mapping[str, Any], *, ignores_extra: bool
) -> list[dict[str, Any]]:
    """Check the identifier and unknown fields."""
    errors = []
    for key in customer.keys() - set(schema.names):
        value = customer[key]
        if key != schema.identifier:
            if ignores_extra:
                continue
            errors.append(_unknown(position, key, value, ", ".join((*schema.names, schema.identifier))))
        elif value is not None and not is_identifier(value):
            errors.append(_error(position, key, "is not an identifier", value, ALLOWED_IDENTIFIER))
    return sorted(errors, key=lambda error: str(error["field"]))


def is_identifier(value: object) -> bool:
    """Return whether a JSON value, other than null, can be an identifier."""
    if isinstance(value, str):
        return _is_unicode(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # 42.0 is allowed: many tools store a column of integers with missing values as floats.
    return -IDENTIFIER_LIMIT <= value < IDENTIFIER_LIMIT and value == int(value)


def _read_identifier(value: str | float | None) -> str | int | None:
    return int(value) if isinstance(value, float) else value


def _is_unicode(text: str) -> bool:
    """Whether a string can be returned, i.e. has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unknown(position: int | None, key: str, value: object, allowed: str) -> dict[str, Any]:
    return _error(position, key, "is not a field of this model", value, allowed)


def _error(position: int | None, field: str | None, reason: str, sent: object, allowed: str) -> dict[str, Any]:
    return {
        "customer": position,
        "field": shorten(field),
        "reason": reason,
        "sent": shorten(sent),
        "allowed": allowed,
    }
