"""Insert linked records, and note the new end of their chain, with the drivers of SQLite and PostgreSQL.

The drivers are called directly: SQLAlchemy would take as long as the database for a few records.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from records.decision import Record
from records.tables import RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from records.chain import Chain

COPY_RECORDS = 64
"""Records that are sent to PostgreSQL at a time, so that it inserts them while the next ones are encoded."""

_MOVE = "UPDATE churn_writers SET sequence = ?, hash = ? WHERE writer = ?"
_MOVE_LITERALS = b"UPDATE churn_writers SET sequence = %d, hash = '\\x%b' WHERE writer = %d; "
_COLUMNS = ", ".join(f'"{name}"' for name in Record._fields)
_COPY = f"COPY churn_records ({_COLUMNS}) FROM STDIN (FORMAT BINARY)".encode()

# The binary format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4. Each field has its length
# before it, and -1 if it is null.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_NULL = b"\xff\xff\xff\xff"
_END = b"\xff\xff"
_length = struct.Struct("!i").pack
_numbers = struct.Struct("!hiiiqiq").pack  # of fields, then writer, sequence and time
_answer = struct.Struct("!idi?id").pack  # probability, churn and threshold
_hashes = struct.Struct("!i16si32si32s").pack  # salt, personal_hash and hash

# Python's driver looks for an adapter of every value that is not exactly an int, a float, a str or a bytearray; that
# takes as long as the rest of binding a row.
_CONVERT: dict[str, Callable[[Any], Any]] = {
    "churn": int,
    "salt": bytearray,
    "personal_hash": bytearray,
    "hash": bytearray,
}
_NULLABLE = {name for name in Record._fields if RECORDS.c[name].nullable}


@lru_cache
def _write_insert(names: tuple[str, ...]) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO churn_records ({columns}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608  constants


def insert_into_sqlite(driver: Any, records: Sequence[Record], chain: Chain) -> None:  # noqa: ANN401  a DBAPI connection
    """Insert records in the transaction that is open.

    Parameters
    ----------
    driver : sqlite3.Connection
    records : sequence of Record
        At least one.
    chain : Chain
        Its end after them.
    """
    names, columns = [], []
    for name, values in zip(Record._fields, zip(*records, strict=True), strict=True):
        if name in _NULLABLE and values.count(None) == len(values):
            continue  # null is what a column has without a value
        convert = _CONVERT.get(name)
        names.append(name)
        columns.append(values if convert is None else map(convert, values))
    driver.executemany(_write_insert(tuple(names)), zip(*columns, strict=True))
    driver.execute(_MOVE, (chain.sequence, chain.hash, chain.writer))


def encode_rows(records: Sequence[Record]) -> Iterator[bytes]:
    """Yield records as what COPY reads: 4 bytes of length before each field, numbers in network byte order."""
    pieces = [_SIGNATURE]
    add = pieces.append
    fields = len(Record._fields)
    for number, record in enumerate(records, 1):
        add(_numbers(fields, 4, record[0], 8, record[1], 8, record[2]))
        pieces += map(_encode_field, record[3:7])
        add(_answer(8, record[7], 1, record[8], 8, record[9]))
        add(_encode_fields(record[10:15]))
        add(_hashes(16, record[15], 32, record[16], 32, record[17]))
        if not number % COPY_RECORDS:
            yield b"".join(pieces)
            pieces.clear()
    add(_END)
    yield b"".join(pieces)


@lru_cache(maxsize=16)
def _encode_fields(values: tuple[str | None, ...]) -> bytes:
    """Return model_version, manifest_sha256, engine, reasons and read_as: mostly those of the record before."""
    return b"".join(map(_encode_field, values))


def _encode_field(value: str | None) -> bytes:
    if value is None:
        return _NULL
    data = value.encode()
    return _length(len(data)) + data


def copy_to_postgresql(driver: Any, records: Sequence[Record], chain: Chain, *, is_whole: bool = False) -> None:  # noqa: ANN401
    """Insert records with COPY.

    All that is to be done is sent together, and one message is waited for before the rows and one after them. Psycopg's
    own COPY needs five for a transaction, which takes longer than a few records do.

    Parameters
    ----------
    driver : psycopg.Connection
    records : sequence of Record
        At least one.
    chain : Chain
        Its end after them.
    is_whole : bool
        Whether this is all of the transaction, which is then committed.

    Raises
    ------
    psycopg.Error
    ValueError
        If PostgreSQL can't store a value, which has nothing to do with its state.
    """
    from psycopg import pq

    server = driver.pgconn
    # Statements that are sent together are a transaction of their own, unless one is open.
    is_open = server.transaction_status != pq.TransactionStatus.IDLE
    begin = b"" if is_whole or is_open else b"BEGIN; "
    move = _MOVE_LITERALS % (chain.sequence, chain.hash.hex().encode(), chain.writer)
    started = server.exec_(begin + move + _COPY)
    if started.status != pq.ExecStatus.COPY_IN:
        raise _read_error(started)
    for rows in encode_rows(records):
        server.put_copy_data(rows)
    server.put_copy_end()
    failed = None
    while (result := server.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            failed = failed or result
    if failed is not None:
        raise _read_error(failed)


def _read_error(result: Any) -> Exception:  # noqa: ANN401  psycopg.pq.abc.PGresult
    from psycopg import DataError
    from psycopg.errors import error_from_result

    error = error_from_result(result)
    return ValueError(str(error)) if isinstance(error, DataError) else error
