r"""The hash chains: of the records of a writer, of its seals, and of the journal.

A hash is the SHA-256 of the hash before it, followed by the compact JSON of a list. The first one follows 32 zero
bytes. docs/records.md lists the fields, so that another program can verify a store.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from records.decision import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from records.decision import Decision

START = bytes(32)
"""What the first hash of a chain follows."""

SALT_BYTES = 16

_encode = msgspec.json.Encoder().encode


def follow(before: bytes, fields: Sequence[Any]) -> bytes:
    """Return the hash of fields after the hash before them; bytes among them are hashed as base64."""
    return sha256(before + _encode(fields)).digest()


def hash_personal(salt: bytes, customer_id: str | None, content: str | None, reasons: str | None) -> bytes:
    """Return the hash of what erasure removes. The salt keeps it from being guessed afterwards."""
    return follow(salt, (customer_id, content, reasons))


def hash_record(before: bytes, record: Record) -> bytes:
    """Return the hash that a record must have after the one before it."""
    # writer, sequence, time, request_id and key; probability to engine; what erasure removes has a hash of its own.
    return follow(before, (*record[:5], *record[7:13], record.read_as, record.personal_hash))


class Chain(NamedTuple):
    """The end of a writer's chain.

    Attributes
    ----------
    writer : int
    sequence : int
        Of the newest record; 0 if there is none.
    hash : bytes
        Of the newest record.
    """

    writer: int
    sequence: int = 0
    hash: bytes = START

    def link(self, decisions: Iterable[Decision]) -> tuple[list[Record], Chain]:
        """Return decisions as the next records, and the new end of the chain."""
        decisions = list(decisions)
        writer, sequence, head = self
        salts = os.urandom(SALT_BYTES * len(decisions))
        records = []
        for number, one in enumerate(decisions):
            time, request_id, key, customer, content, *said, why, read_as = one
            sequence += 1
            salt = salts[number * SALT_BYTES : (number + 1) * SALT_BYTES]
            personal = sha256(salt + _encode((customer, content, why))).digest()
            fields = (writer, sequence, time, request_id, key, *said, read_as, personal)
            head = sha256(head + _encode(fields)).digest()
            records.append(Record._make((writer, sequence, *one, salt, personal, head)))
        return records, Chain(writer, sequence, head)
