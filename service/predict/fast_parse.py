"""Parse valid request bodies fast.

msgspec decodes the body to structs generated from the schema. Bodies that msgspec or a check in this module rejects are
passed to `service.predict.parse`, which decides whether they are valid and creates the errors. A property test compares
the two.
"""

from __future__ import annotations

import enum
import math
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from churn.columns import find_wrong_numbers, make_stacker
from churn.feature import FLAG_WORDS, LARGEST
from churn.leniency import STRICT
from churn.names import BATCH, IDENTIFIER_LIMIT
from service.errors import RequestProblem
from service.guard.json_limits import JsonLimits, check_json
from service.predict.parse import BatchRequest, SingleRequest, count_objects, parse, parse_parts
from service.predict.parts import PART_BYTES, divide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from churn.feature import Feature
    from churn.leniency import Leniency
    from churn.schema import Schema

# The key of a batch is searched in this many leading bytes; `service.predict.parse` finds one that comes later.
_PEEK = 64
_BATCH_KEY = f'"{BATCH}"'.encode()
_IDENTIFIER = "identifier"
_UNESCAPED = re.compile(r'["\\\x00-\x1f]')


class _Word(float, enum.Enum):
    """A string that msgspec decodes to a number: the member's value is the string, the member itself is the float."""

    def __new__(cls, number: float, text: str) -> _Word:
        member = float.__new__(cls, number)
        member._value_ = text
        return member


class _Read(float):
    """Encoded number of a string; subclassed for each feature whose strings can't be enumerated."""


class FastParser:
    """Parser of requests for one schema.

    Parameters
    ----------
    schema : Schema
    max_customers : int
        Maximum number of customers in one request.
    limits : JsonLimits, optional
        Limits on JSON that can't be divided between customers.
    """

    def __init__(self, schema: Schema, max_customers: int, limits: JsonLimits = JsonLimits()) -> None:  # noqa: B008
        self._schema = schema
        self._max_customers = max_customers
        self._limits = limits
        # msgspec does not accept names that need escapes in JSON.
        self._is_possible = not any(_UNESCAPED.search(name) for name in (*schema.names, schema.identifier))
        attributes = [f"f{position}" for position in range(len(schema.features))]
        names = dict(zip(attributes, schema.names, strict=True)) | {_IDENTIFIER: schema.identifier}
        if not self._is_possible:
            names = {}
        types = [_type_of(feature) for feature in schema.features]
        read_text = _make_reader(
            {kind: f for kind, f in zip(types, schema.features, strict=True) if f.open or f.kind == "date"}
        )
        fields: list[Any] = [
            (attribute, kind | None if feature.nullable else kind, *([None] if feature.nullable else []))
            for attribute, kind, feature in zip(attributes, types, schema.features, strict=True)
        ]
        fields.append((_IDENTIFIER, str | int | None, None))
        fields.sort(key=len)  # fields with a default must come last
        options: Any = {"forbid_unknown_fields": True, "gc": False}
        customer = msgspec.defstruct("Customer", fields, rename=names, **options)
        batch: Any = msgspec.defstruct("BatchRequest", [(BATCH, list[customer])], **options)  # type: ignore[valid-type]
        self._decode_one = msgspec.json.Decoder(customer, dec_hook=read_text).decode
        self._decode_batch = msgspec.json.Decoder(batch, dec_hook=read_text).decode
        self._decode_part = msgspec.json.Decoder(list[customer], dec_hook=read_text).decode  # type: ignore[valid-type]
        self._values = attrgetter(*attributes) if len(attributes) > 1 else _one_value
        self._stack = make_stacker(len(attributes))
        self._low, self._high = zip(*map(_usual_range, schema.features), strict=True)
        self._low_array, self._high_array = np.array(self._low), np.array(self._high)
        self._whole = [i for i, feature in enumerate(schema.features) if feature.kind in ("integer", "flag")]
        self._has_gaps = any(feature.nullable for feature in schema.features)

    def parse(self, body: bytes) -> SingleRequest | BatchRequest:
        """Parse a request's body, with the same result and errors as `service.predict.parse.parse`."""
        if len(body) > PART_BYTES:
            return self._parse_large(body)
        return self._parse_whole(body)

    def _parse_whole(self, body: bytes) -> SingleRequest | BatchRequest:
        if not self._is_possible:
            return parse(self._schema, body, self._max_customers, limits=self._limits)
        request: SingleRequest | BatchRequest | None
        try:
            if body.find(_BATCH_KEY, 0, _PEEK) < 0:
                request = self._parse_one(self._decode_one(body))
            else:
                request = self._parse_batch(self._decode_batch(body).customers)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            request = None
        return request or parse(self._schema, body, self._max_customers, limits=self._limits)

    def parse_as(self, body: bytes, leniency: Leniency) -> SingleRequest | BatchRequest:
        """Parse a request's body as its query parameters, which may relax validation, say."""
        return self.parse(body) if leniency == STRICT else self.parse_leniently(body, leniency)

    def parse_leniently(self, body: bytes, leniency: Leniency) -> SingleRequest | BatchRequest:
        """Parse a request's body with query parameters that relax validation."""
        if len(body) > PART_BYTES:
            return self._parse_large(body, leniency)
        return parse(self._schema, body, self._max_customers, leniency, self._limits)

    def _parse_large(self, body: bytes, leniency: Leniency = STRICT) -> SingleRequest | BatchRequest:
        """Parse a large body in parts, so that other threads can run in between; or as a whole, within the limits."""
        parts = divide(body)
        if parts is not None:
            try:
                return self._parse_parts(parts, leniency)
            except RequestProblem as problem:
                if problem.kind != "malformed-json":
                    raise
        # Of another form, or the parts are no JSON: the position of the error is that in the whole.
        check_json(body, self._limits)
        if leniency == STRICT and parts is None:
            return self._parse_whole(body)
        return parse(self._schema, body, self._max_customers, leniency, self._limits)

    def _parse_parts(self, parts: Sequence[bytes], leniency: Leniency) -> BatchRequest:
        requests: list[BatchRequest] = []
        known = 0
        for place, part in enumerate(parts):
            request = self._parse_part(part) if leniency == STRICT and self._is_possible else None
            if request is None:
                rest = parts[place:]
                requests.append(parse_parts(self._schema, rest, known, self._max_customers, leniency, self._limits))
                break
            known += len(request.raw)
            if known > self._max_customers:
                raise RequestProblem.too_many_customers(known + count_objects(parts[place + 1 :]), self._max_customers)
            requests.append(request)
        return _join(requests)

    def _parse_part(self, part: bytes) -> BatchRequest | None:
        try:
            return self._parse_batch(self._decode_part(part))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def _parse_one(self, customer: Any) -> SingleRequest | None:  # noqa: ANN401  a generated struct
        row = self._values(customer)
        if self._has_gaps:
            row = _fill_gaps(row)
        may_be_unusual = False
        # Plain comparisons: for one row, NumPy would take ten times as long.
        for value, low, high in zip(row, self._low, self._high, strict=True):
            if not low <= value <= high:
                if not self._is_allowed(np.array([row], dtype=np.float64)):
                    return None
                may_be_unusual = True
                break
        for position in self._whole:
            if row[position] % 1 > 0:  # false for NaN
                return None
        identifier = customer.identifier
        if identifier is None:
            return SingleRequest(row, None, may_be_unusual)
        return SingleRequest(row, identifier, may_be_unusual) if _is_identifier(identifier) else None

    def _parse_batch(self, customers: Sequence[Any]) -> BatchRequest | None:
        if not 0 < len(customers) <= self._max_customers:
            return None
        rows = map(self._values, customers)
        if self._has_gaps:
            rows = map(_fill_gaps, rows)
        raw = self._stack(rows)
        may_be_unusual = not ((raw >= self._low_array) & (raw <= self._high_array)).all()
        if may_be_unusual and not self._is_allowed(raw):
            return None
        whole = raw[:, self._whole]
        if (whole > np.floor(whole)).any():  # false for NaN
            return None
        identifiers = [customer.identifier for customer in customers]
        if identifiers.count(None) == len(identifiers):
            return BatchRequest(raw, None, may_be_unusual)
        if not all(_is_identifier(name) for name in identifiers if name is not None):
            return None
        return BatchRequest(raw, identifiers, may_be_unusual)

    def _is_allowed(self, raw: np.typing.NDArray[np.float64]) -> bool:
        """Whether all values are allowed, including those outside the range seen in training."""
        return not any(
            not feature.is_text and find_wrong_numbers(feature, raw[:, position]).any()
            for position, feature in enumerate(self._schema.features)
        )


def _join(requests: Sequence[BatchRequest]) -> BatchRequest:
    identifiers: list[str | int | None] = []
    for request in requests:
        identifiers += request.identifiers or [None] * len(request.raw)
    return BatchRequest(
        np.concatenate([request.raw for request in requests]),
        None if all(request.identifiers is None for request in requests) else identifiers,
        any(request.may_be_unusual for request in requests),
    )


def _type_of(feature: Feature) -> Any:  # noqa: ANN401  a type
    if feature.open or feature.kind == "date":
        return type("Text", (_Read,), {})
    if feature.kind == "category":
        return _words("Category", {text: float(position) for position, text in enumerate(feature.categories)})
    if feature.kind == "flag":
        spelt = {form(word): number for word, number in FLAG_WORDS.items() for form in (str, str.title, str.upper)}
        return float | bool | _words("Flag", spelt)
    return float


def _make_reader(features: Mapping[Any, Feature]) -> Callable[[Any, object], float]:
    """Return the ``dec_hook`` for subclasses of `_Read`; it raises ValueError for an invalid string."""
    listed = {
        kind: {text: kind(position) for position, text in enumerate(feature.categories)}
        for kind, feature in features.items()
        if feature.open
    }

    def read(kind: Any, text: object) -> float:  # noqa: ANN401  one of the types
        code = listed[kind].get(text) if kind in listed and isinstance(text, str) else None
        number: float = kind(features[kind].encode(text)) if code is None else code
        return number

    return read


def _words(name: str, numbers: dict[str, float]) -> Any:  # noqa: ANN401  a type
    return _Word(name, {f"w{i}": (number, text) for i, (text, number) in enumerate(numbers.items())})  # type: ignore[arg-type]


def _usual_range(feature: Feature) -> tuple[float, float]:
    """Return the range of values that are allowed and, for numbers, were seen in training."""
    if feature.kind == "category":
        return 0.0, float(len(feature.levels))
    if feature.kind == "flag":
        return 0.0, 1.0
    lows = (feature.minimum, feature.trained_minimum, -LARGEST)
    highs = (feature.maximum, feature.trained_maximum, LARGEST)
    return max(low for low in lows if low is not None), min(high for high in highs if high is not None)


def _one_value(customer: Any) -> tuple[float]:  # noqa: ANN401  a generated struct
    """Replace `attrgetter` for a single feature, for which it would not return a tuple."""
    return (customer.f0,)


def _fill_gaps(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple([math.nan if value is None else value for value in values])


def _is_identifier(value: str | int) -> bool:
    return isinstance(value, str) or -IDENTIFIER_LIMIT <= value < IDENTIFIER_LIMIT
