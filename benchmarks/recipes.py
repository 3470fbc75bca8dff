"""Inputs that are described by a few pieces and how often each is repeated, and their random changes."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from in_process import INFER, PREDICT, frame
from pyarrow import ipc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

MAX_BYTES = 16 * 2**20

CUSTOMER: dict[str, Any] = {
    "CreditScore": 600, "Geography": "France", "Gender": "Male", "Age": 40, "Tenure": 3, "Balance": 6e4,
    "NumOfProducts": 2, "HasCrCard": 1, "IsActiveMember": 1, "EstimatedSalary": 5e4, "CustomerId": "a",
}  # fmt: skip

JSON, ARROW, CSV = "application/json", "application/vnd.apache.arrow.stream", "text/csv"

Recipe = tuple[tuple[bytes, int], ...]
"""Pieces, and how often each is repeated."""


def bake(recipe: Recipe) -> bytes:
    """Return the bytes of a recipe."""
    return b"".join(piece * times for piece, times in recipe)


def measure(recipe: Recipe) -> int:
    """Return the number of bytes of a recipe."""
    return sum(len(piece) * times for piece, times in recipe)


class Kind(NamedTuple):
    """A kind of input.

    Attributes
    ----------
    seeds : sequence of Recipe
        Ordinary inputs.
    tokens : sequence of bytes
        Pieces that are inserted.
    send : callable
        Returns the bytes of the connection for a body.
    most_bytes : int
        Maximum size of a small input.
    """

    seeds: Sequence[Recipe]
    tokens: Sequence[bytes]
    send: Callable[[bytes], bytes]
    most_bytes: int = 2000


def _split(body: bytes, mark: bytes) -> Recipe:
    *pieces, last = body.split(mark)
    return (*((piece + mark, 1) for piece in pieces), (last, 1))


_ONE = json.dumps(CUSTOMER).encode()
_JSON_TOKENS = [
    *(json.dumps(name).encode() for name in CUSTOMER), _ONE, _ONE + b",", b"[", b"]", b"{", b"}", b",", b":", b'"',
    b"\\", b"\\n", b"\\u00e9", b"\\ud83d", "é".encode(), "😀".encode(), b"1", b"1.5", b"1e999", b"-0", b"null", b"true",
    b"NaN", b" ", b"\n", b"[],", b"{},", b'{"a":1},', b'"a":1,', b'"a",', b"0.1,", b"\xff", b'"customers":[',
]  # fmt: skip
_TENSORS = [
    {"name": name, "datatype": "BYTES" if isinstance(value, str) else "FP64", "shape": [1], "data": [value]}
    for name, value in CUSTOMER.items()
    if name != "CustomerId"
]
_HEADER = ",".join(CUSTOMER).encode() + b"\n"
_ROW = ",".join(map(str, CUSTOMER.values())).encode() + b"\n"
_GET = b"GET /health/live HTTP/1.1\r\nhost: a\r\n"
_POST = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"

KINDS: dict[str, Kind] = {
    "JSON": Kind([((_ONE, 1),), _split(_ONE, b",")], _JSON_TOKENS, lambda body: frame(PREDICT, JSON, body)),
    "JSON list": Kind(
        [
            ((b'{"customers":[', 1), (_ONE + b",", 2), (_ONE + b"]}", 1)),
            ((b'{"customers":[', 1), (b'{"Age":1},', 3), (b"{}]}", 1)),
        ],
        _JSON_TOKENS,
        lambda body: frame(PREDICT, JSON, body),
    ),
    "V2 JSON": Kind(
        [_split(json.dumps({"inputs": _TENSORS}).encode(), b","), ((json.dumps({"inputs": _TENSORS}).encode(), 1),)],
        [*_JSON_TOKENS, *(json.dumps(tensor).encode() for tensor in _TENSORS), b'"parameters":{', b'"data":[', b"[1],"],
        lambda body: frame(INFER, JSON, body),
    ),
    "CSV": Kind(
        [((_HEADER, 1), (_ROW, 3)), ((_HEADER, 1), *_split(_ROW, b","))],
        [b",", b";", b"\t", b"|", b'"', b'""', b'",', b',"', b"\n", b"\r", b"\r\n", b"#", b"sep=;\n", b"a", b"1", b"?",
         b"1.000,5", "é".encode(), b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", _ROW, _HEADER, b"NA", b"nan", b"a,",
         b"2020-01-01", b"?,?,?,?,?,?,?,?,?,?,?\n", b"a\n", b'"a\n'],
        lambda body: frame(PREDICT + "?on_error=reject", CSV, body),
        most_bytes=600,
    ),
    "Heads": Kind(
        [((_GET, 1), (b"a: b\r\n", 3), (b"\r\n", 1)), ((_POST, 1), (b"content-length: 2\r\n\r\n{}", 2)),
         ((_POST, 1), (b"transfer-encoding: chunked\r\n\r\n", 1), (b"1\r\n{\r\n", 3), (b"0\r\n", 1), (b"a: b\r\n", 3),
          (b"\r\n", 1))],
        [_GET, _GET + b"\r\n", _POST, b"a: b\r\n", b"a", b"\r\n", b"\n", b" ", b":", b"content-length: 2\r\n",
         b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"connection: upgrade\r\nupgrade: x\r\n",
         b"expect: 100-continue\r\n", b"1\r\n{\r\n", b"1;a=b\r\n{\r\n", b"0\r\n\r\n", b"\r\n{}", b"%41", b"?a=b&", b"/",
         # Not GET /metrics: it costs some ms whatever its head is, and is among the known ones.
         b"x-request-id: a\r\n", b"content-encoding: gzip\r\n", b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n", b"\0"],
        lambda data: data,
    ),
}  # fmt: skip


def change(recipe: Recipe, kind: Kind, others: Sequence[Recipe], random: Random) -> Recipe:
    """Return a recipe with one to three random changes, of at most `Kind.most_bytes`."""
    parts = list(recipe)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(parts)) if parts else 0
        act = random.randrange(7)
        if act <= 1 or not parts:
            parts.insert(at, (random.choice(kind.tokens), random.choice((1, 1, 2, 10))))
        elif act == 2 and len(parts) > 1:
            del parts[at]
        elif act == 3:
            parts[at] = (parts[at][0], random.choice((1, 2, 5, 30, 200)))
        elif act == 4:
            piece = bytearray(parts[at][0])
            if piece:
                piece[random.randrange(len(piece))] = random.randrange(256)
            parts[at] = (bytes(piece), parts[at][1])
        elif act == 5:
            other = random.choice(others)
            parts[at:] = other[random.randrange(len(other) + 1) :]
        else:
            piece = b"".join(piece for piece, _ in parts[at : at + 2])
            parts[at : at + 2] = [(piece, parts[at][1])]
    while parts and measure(tuple(parts)) > kind.most_bytes:
        largest = max(range(len(parts)), key=lambda place: len(parts[place][0]) * parts[place][1])
        piece, times = parts[largest]
        parts[largest : largest + 1] = [(piece, times // 2)] if times > 1 else []
    return tuple(parts)


def enlarge(recipe: Recipe, random: Random) -> Recipe:
    """Return a recipe with one or two pieces repeated until it is large."""
    parts = [part for part in recipe if part[0]] or [(b"a", 1)]
    size = int(2 ** random.uniform(16, 24))
    for at in random.sample(range(len(parts)), min(len(parts), random.randint(1, 2))):
        parts[at] = (parts[at][0], max(1, size // 2 // len(parts[at][0])))
    return cut(tuple(parts))


def cut(recipe: Recipe) -> Recipe:
    """Return a recipe of at most `MAX_BYTES`."""
    parts, room = [], MAX_BYTES - 4096
    for piece, times in recipe:
        times = min(times, room // max(len(piece), 1))
        room -= len(piece) * times
        parts.append((piece, times))
    return tuple(parts)


FEW_ROWS = 10
"""Rows of a small table."""


class Table(NamedTuple):
    """An Arrow table, described by numbers.

    Attributes
    ----------
    rows, batches : int
        Rows of a batch, and number of batches.
    columns : tuple of (int, int, int)
        Type, number of distinct values and length of a text, of each column of the model.
    extra : int
        Number of further columns.
    deltas : bool
    flips : tuple of (float, int)
        Places, as shares of the whole, and bytes that are put there.
    """

    rows: int
    batches: int
    columns: tuple[tuple[int, int, int], ...]
    extra: int = 0
    deltas: bool = False
    flips: tuple[tuple[float, int], ...] = ()


TYPES = 9


def _make_column(plain: Any, rows: int, column: tuple[int, int, int]) -> pa.Array:  # noqa: ANN401
    kind, distinct, length = column
    distinct = max(1, min(distinct, rows))
    if kind == 0:
        return pa.array([plain] * rows)
    if kind == 1:
        return pa.nulls(rows)
    if kind in (2, 3, 4, 5):
        words = [str(n) * max(1, length // len(str(n))) for n in range(distinct)]
        codes = np.arange(rows, dtype=np.int32) % distinct
        if kind == 2:
            return pa.array(words).take(pa.array(codes))
        text = {3: pa.string(), 4: pa.string_view(), 5: pa.large_string()}[kind]
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words, text))
    if kind == 6:
        one = pa.array(["y" * max(length, 13)], pa.string_view())
        _, views, *texts = one.buffers()
        return pa.Array.from_buffers(one.type, rows, [None, pa.py_buffer(views.to_pybytes()[:16] * rows), *texts])
    if kind == 7:
        return pa.array(np.arange(rows) % distinct, pa.timestamp("ns"))
    return pa.array(np.arange(rows) % 2 == 0)


_recall_column = lru_cache(1000)(_make_column)


def _write_whole(table: Table, *, is_file: bool) -> bytes:
    names = [*CUSTOMER, *(f"c{n}" for n in range(table.extra))]
    plain = [*CUSTOMER.values(), *[1] * table.extra]
    make = _recall_column if table.rows <= FEW_ROWS else _make_column
    made = [
        make(value, table.rows, table.columns[place] if place < len(table.columns) else (0, 1, 1))
        for place, value in enumerate(plain)
    ]
    batch = pa.RecordBatch.from_arrays(made, names)
    sink = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(emit_dictionary_deltas=table.deltas)
    with (ipc.new_file if is_file else ipc.new_stream)(sink, batch.schema, options=options) as writer:
        for _ in range(table.batches):
            writer.write_batch(batch)
            if sink.tell() > MAX_BYTES:
                break
    return sink.getvalue()[:MAX_BYTES].to_pybytes()


_recall_whole = lru_cache(1000)(_write_whole)


def write_table(table: Table, *, is_file: bool) -> bytes:
    """Return the bytes of a table, of at most `MAX_BYTES`."""
    write = _recall_whole if table.rows <= FEW_ROWS else _write_whole
    data = bytearray(write(table._replace(flips=()), is_file=is_file))
    for place, value in table.flips:
        data[int(place * (len(data) - 1))] = value
    return bytes(data)


def change_table(table: Table, random: Random) -> Table:
    """Return a table with one to three random changes."""
    for _ in range(random.randint(1, 3)):
        act = random.randrange(10)
        columns = list(table.columns)
        at = random.randrange(len(CUSTOMER))
        columns += [(0, 1, 1)] * (at + 1 - len(columns))
        if act <= 2:
            columns[at] = (random.randrange(TYPES), random.choice((1, 3, 10)), random.choice((1, 10, 100, 1000)))
            table = table._replace(columns=tuple(columns))
        elif act == 3:
            table = table._replace(rows=random.choice((0, 1, 2, 4, FEW_ROWS)))
        elif act == 4:
            table = table._replace(batches=random.choice((0, 1, 2, 3)))
        elif act == 5:
            table = table._replace(extra=random.choice((0, 1, 20)), deltas=random.random() < 0.5)
        else:
            flips = table.flips[-3:] if random.random() < 0.5 else ()
            table = table._replace(flips=(*flips, (random.random(), random.randrange(256))))
    return table


def enlarge_table(table: Table, random: Random) -> Table:
    """Return a table with more rows, batches, or longer or more texts."""
    rows = random.choice((1, 10, 10_000, 100_000, 1_000_000))
    batches = random.choice((1, 1, 10, 300 if rows <= 10_000 else 2))
    columns = tuple(
        (kind, random.choice((distinct, 1, 100, 20_000)), random.choice((length, 100, 4000, 100_000)))
        for kind, distinct, length in table.columns
    )
    columns = tuple((k, min(d, 4 * 2**20 // max(n, 1)) or 1, min(n, 100_000 if k != 2 else 100)) for k, d, n in columns)
    return table._replace(rows=rows, batches=batches, columns=columns, extra=random.choice((0, 0, 3)))
