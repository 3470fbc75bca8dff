"""Seals: the end of a writer's chain at the end of each hour, in a chain of their own that outlives the records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from churn.errors import TableError
from records.chain import START, Chain, follow
from records.tables import RECORDS, SEALS, WRITERS
from records.times import HOUR

if TYPE_CHECKING:
    from pathlib import Path

    from records.decision import Record


class Seal(NamedTuple):
    """A seal.

    Attributes
    ----------
    writer, number : int
        The writer, and the place among its seals, from 1.
    hour : int
        Beginning of the hour of the sealed records.
    first, last : int
        Sequences of the sealed records.
    head : bytes
        Hash of the last one.
    hash : bytes
    """

    writer: int
    number: int
    hour: int
    first: int
    last: int
    head: bytes
    hash: bytes


def hash_seal(before: bytes, seal: Seal) -> bytes:
    """Return the hash that a seal must have after the one before it."""
    return follow(before, seal[:6])


class End(NamedTuple):
    """The end of a writer's records and seals.

    Attributes
    ----------
    chain : Chain
    seals : int
        Number of seals.
    seal_hash : bytes
        Hash of the newest seal.
    first : int
        Sequence of the first record that is not sealed.
    hour : int
        Beginning of the hour of that record; 0 if all are sealed.
    """

    chain: Chain
    seals: int = 0
    seal_hash: bytes = START
    first: int = 1
    hour: int = 0

    @property
    def is_sealed(self) -> bool:
        """Whether all records are sealed."""
        return self.first > self.chain.sequence

    def advance(self, records: list[Record], chain: Chain) -> End:
        """Return the end after further records of one hour, which must be that of the unsealed ones."""
        return self._replace(chain=chain, hour=find_hour(records[0].time))

    def seal(self, connection: sa.Connection) -> End:
        """Seal the records that are not sealed, and return the new end.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Of `RecordStore.writing`.
        """
        if self.is_sealed:
            return self
        writer, last, head = self.chain
        seal = Seal(writer, self.seals + 1, self.hour, self.first, last, head, b"")
        seal = seal._replace(hash=hash_seal(self.seal_hash, seal))
        connection.execute(sa.insert(SEALS).values(seal._asdict()))
        connection.execute(sa.update(WRITERS).where(WRITERS.c.writer == writer).values(seals=seal.number))
        return End(self.chain, seal.number, seal.hash, last + 1)


def find_hour(time: int) -> int:
    """Return the beginning of the hour of a time."""
    return time - time % HOUR


def read_end(connection: sa.Connection, writer: int) -> End:
    """Return the end of a writer, which must exist."""
    row = connection.execute(sa.select(WRITERS).where(WRITERS.c.writer == writer)).one()
    newest = sa.select(SEALS).where(SEALS.c.writer == writer, SEALS.c.number == row.seals)
    seal = connection.execute(newest).one_or_none()
    chain = Chain(writer, row.sequence, bytes(row.hash))
    end = End(chain) if seal is None else End(chain, seal.number, bytes(seal.hash), seal.last + 1)
    if end.is_sealed:
        return end
    first = sa.select(RECORDS.c.time).where(RECORDS.c.writer == writer, RECORDS.c.sequence == end.first)
    return end._replace(hour=find_hour(connection.execute(first).scalar_one()))


def write_seal(seal: Seal) -> str:
    """Return a seal as a line of JSON; hashes are in hexadecimal digits."""
    return json.dumps({name: cell.hex() if isinstance(cell, bytes) else cell for name, cell in seal._asdict().items()})


def read_seals(path: Path) -> list[Seal]:
    """Return the seals in a file of such lines.

    Raises
    ------
    TableError
        If a line is none.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            cells = json.loads(line)
            hashes = {name: bytes.fromhex(cells[name]) for name in ("head", "hash")}
            found.append(Seal(**{**cells, **hashes}))
        except (ValueError, KeyError, TypeError):
            raise TableError(
                f"{path}, line {number}: is not a seal; allowed: lines written by churn records seals"
            ) from None
    return found


def select_seals() -> sa.Select[tuple[object, ...]]:
    """Return the query for all seals with all their columns."""
    return sa.select(*(SEALS.c[name] for name in Seal._fields))
