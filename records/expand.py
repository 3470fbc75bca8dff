"""Make the decisions of a worker's entries: one per customer, each with its input as it was sent."""

from __future__ import annotations

import json
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec

from churn.names import BATCH
from records.decision import Decision, name_customer
from records.messages import Block, Many, Origin, Single, Texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from records.messages import Frame

_MARK = b"\xef\xbb\xbf"

_Batch: Any = msgspec.defstruct("_Batch", [(BATCH, list[msgspec.Raw])])
_decode_list = msgspec.json.Decoder(_Batch).decode
_encode = msgspec.json.Encoder(decimal_format="string").encode


def expand(frame: Frame) -> list[Decision]:
    """Return the decisions of a frame, in its order."""
    origins = [Origin(*origin) for origin in frame.origins]
    decisions: list[Decision] = []
    for entry in frame.entries:
        if isinstance(entry, Single):  # not in a function: most frames have nothing but many of these
            origin = origins[entry.origin]
            identifier, probability, body = entry.identifier, entry.probability, entry.body
            text = body.decode("utf-8-sig") if body.startswith(_MARK) else body.decode()
            customer = None if identifier is None else name_customer(identifier)
            decisions.append(
                Decision(
                    entry.time,
                    entry.request_id,
                    entry.key,
                    customer,
                    text,
                    probability,
                    probability > origin.threshold,
                    *origin,
                    entry.reasons,
                    entry.read_as,
                )
            )
        else:
            decisions += _expand_many(entry, origins)
    return decisions


def _expand_many(entry: Many | Texts | Block, origins: Sequence[Origin]) -> list[Decision]:
    identifiers: Iterable[Any]
    if isinstance(entry, Block):
        inputs, identifiers = _read_block(entry)
    else:
        inputs = entry.inputs if isinstance(entry, Texts) else split_list(entry.body)
        identifiers = entry.identifiers or repeat(None)
    if len(inputs) != len(entry.probabilities):
        raise ValueError(f"{len(inputs)} customers were sent, and {len(entry.probabilities)} scored")
    numbers: Iterable[int] | None = entry.origins
    if numbers is None and not isinstance(entry, Many):
        numbers = repeat(entry.origin)
    scored = map(origins.__getitem__, numbers or ())
    return [
        Decision(
            entry.time,
            entry.request_id,
            entry.key,
            name_customer(identifier),
            text,
            probability,
            probability > origin.threshold,
            *origin,
            reasons,
            entry.read_as,
        )
        for text, identifier, probability, origin, reasons in zip(
            inputs, identifiers, entry.probabilities, scored, entry.reasons or repeat(None), strict=False
        )
    ]


def split_list(body: bytes) -> list[str]:
    """Return the customers of a list as they were sent, with their white space and the order of their fields."""
    body = body.removeprefix(_MARK)
    try:
        return [bytes(customer).decode() for customer in _decode_list(body).customers]
    except msgspec.MsgspecError:  # e.g. NaN in a field that was ignored
        return [_write(customer) for customer in json.loads(body)[BATCH]]


def _write(customer: Any) -> str:  # noqa: ANN401  of a list
    """Return JSON of a customer; half of a surrogate pair stays an escape sequence, as it is no text."""
    text = json.dumps(customer, ensure_ascii=False)
    return text if text.isascii() or not _has_surrogates(text) else json.dumps(customer)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _read_block(entry: Block) -> tuple[list[str], Iterable[Any]]:
    import pyarrow as pa

    from churn.identifiers import as_answered, as_text

    batch = pa.ipc.open_stream(entry.rows).read_next_batch()
    identifiers: Iterable[Any] = repeat(None)
    if entry.identifier in batch.schema.names:
        column = batch.column(entry.identifier)
        identifiers = as_text(column).to_pylist()
        # 7.0 is customer 7, as it is answered, and 16 bytes are a UUID.
        batch = batch.set_column(batch.schema.names.index(entry.identifier), entry.identifier, as_answered(column))
    return [_encode(row).decode() for row in batch.to_pylist()], identifiers
