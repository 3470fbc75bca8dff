"""What is recorded of a scored customer."""

from __future__ import annotations

from typing import NamedTuple

from churn.errors import TableError


class Decision(NamedTuple):
    """A scored customer before it has a place in a chain.

    Attributes
    ----------
    time : int
        When the answer was ready, in microseconds since 1970.
    request_id : str
    key : str or None
        Name of the API key, or of the token: ``token:`` and its subject, or ``client:`` and its client.
    customer_id : str or None
    input : str
        The customer as it was sent, as JSON.
    probability : float
        As it was answered, rounded to six decimals.
    churn : bool
    threshold : float
    model_version : str
    manifest_sha256 : str
    engine : str
        Name of the inference engine.
    reasons : str or None
        As JSON; None if they were not asked for.
    read_as : str or None
        Query parameters with which the input was read, such as ``texts=parse&decimal=,``; None if it was read as JSON
        without any.
    """

    time: int
    request_id: str
    key: str | None
    customer_id: str | None
    input: str
    probability: float
    churn: bool
    threshold: float
    model_version: str
    manifest_sha256: str
    engine: str
    reasons: str | None = None
    read_as: str | None = None


class Record(NamedTuple):
    """A row of the table of records, with its columns in their order.

    Attributes
    ----------
    writer : int
        The chain.
    sequence : int
        Place in the chain, from 1.
    time, request_id, key, customer_id, input, probability, churn, threshold, model_version, manifest_sha256, engine, \
    reasons, read_as
        See `Decision`. `input` is None if the record was erased; so are `customer_id`, `reasons` and `salt`.
    salt : bytes or None
    personal_hash : bytes
        What erasure removes is part of the chain by this hash alone.
    hash : bytes
    """

    writer: int
    sequence: int
    time: int
    request_id: str
    key: str | None
    customer_id: str | None
    input: str | None
    probability: float
    churn: bool
    threshold: float
    model_version: str
    manifest_sha256: str
    engine: str
    reasons: str | None
    read_as: str | None
    salt: bytes | None
    personal_hash: bytes
    hash: bytes


def name_customer(identifier: str | int | None) -> str | None:
    """Return an identifier as it is stored: 42 and ``"42"`` are the same customer, as everywhere.

    PostgreSQL stores no NUL, so it is written as JSON does.
    """
    return None if identifier is None else str(identifier).replace("\0", "\\u0000")


class QuestionError(TableError):
    """What is looked for can't be in a store."""


def seek_customer(identifier: str | int) -> str:
    """Return an identifier that is looked for as it is stored.

    Raises
    ------
    QuestionError
        If it is no text that can be stored.
    """
    return check_text(str(name_customer(identifier)), "the customer")


def check_text(text: str, what: str) -> str:
    """Return a text that is looked for.

    Raises
    ------
    QuestionError
        If no database stores it: it has a NUL, or half of a surrogate pair, as bytes that are not UTF-8 have in the
        arguments of a command. `what` is the beginning of the message.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise QuestionError(f"{what} is {text!r}, which is not valid text; allowed: Unicode without NUL")
    return text
