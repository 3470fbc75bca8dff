"""The costliest inputs that were found, before there were limits and since; ``costliest.py --known`` measures them.

All of them are ordinary requests with much of the same, and are described by what is repeated.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from in_process import INFER, PREDICT, frame
from recipes import ARROW, CSV, CUSTOMER, JSON, MAX_BYTES, Table, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

REJECT = PREDICT + "?on_error=reject"
HEADER = ",".join(CUSTOMER).encode() + b"\n"
ALL_SHARED = ((3, 1, 1),) * len(CUSTOMER)


def repeat(begin: bytes, piece: bytes, end: bytes = b"", size: int = MAX_BYTES - 4096) -> bytes:
    """Return bytes with a piece that is repeated up to a size in bytes."""
    return begin + piece * ((size - len(begin) - len(end)) // len(piece)) + end


def list_known() -> Iterator[tuple[str, bytes, int]]:
    """Yield name, bytes of the connection, and bytes of the body: as sent or decompressed, whatever is more."""
    one = json.dumps(CUSTOMER).encode()
    tensor = b'{"inputs":[{"name":"Age","datatype":"FP64","shape":[1],"data":['
    bodies = {
        "lists in JSON": (PREDICT, JSON, repeat(b"[", b"[],", b"1]")),
        "objects in JSON": (PREDICT, JSON, repeat(b"[", b'{"a":1},', b"1]", 4 * 2**20)),
        "texts in JSON": (PREDICT, JSON, repeat(b"[", b'"a",', b"1]", 900_000)),
        "a long text with an emoji": (PREDICT, JSON, repeat('{"Geography":"😀'.encode(), b"x", b'"}', 4 * 2**20)),
        "a customer again and again": (PREDICT, JSON, repeat(b'{"customers":[', one + b",", one + b"]}")),
        "wrong customers": (PREDICT, JSON, repeat(b'{"customers":[', b'{"Age":1},', b"{}]}")),
        "lists of tensors": (INFER, JSON, repeat(tensor, b"[],", b"1]}]}")),
        "numbers of a tensor": (INFER, JSON, repeat(tensor, b"1.5,", b"1]}]}", 990_000)),
        "quotes in a CSV": (REJECT, CSV, repeat(HEADER, b'"x', size=2 * 2**20)),
        "short rows of a CSV": (REJECT, CSV, repeat(HEADER, b",\n", size=2**20)),
        "comments of a CSV": (REJECT, CSV, repeat(b"", b"#\n")),
        "wrong cells of a CSV": (REJECT, CSV, repeat(HEADER, b"\xff" + b",?" * 10 + b"\n", size=2**19)),
        "rows that are not UTF-8": (REJECT, CSV, repeat(HEADER, b"\xff," * 10 + b"\xff\n", size=2**20)),
        "short wrong rows of a CSV": (REJECT, CSV, repeat(HEADER, b"?," * 10 + b"?\n", size=2**20)),
        "half a text in a CSV": (REJECT, CSV, repeat(HEADER + b"N\xb5", b"?," * 10 + b"?\n", size=900_000)),
        "an open quote before short rows": (REJECT, CSV, repeat(HEADER + b'"a\n', b"?," * 10 + b"?\n", size=5 * 2**19)),
        "columns of a CSV": (REJECT, CSV, repeat(b"", b"a,", b"\n1\n", 2**20)),
        "a long shared text": (PREDICT, ARROW, write_table(Table(10_000, 1, ((3, 1, 10**6),)), is_file=False)),
        "a long shared identifier": (
            PREDICT, ARROW, write_table(Table(20_000, 1, ((0, 1, 1),) * 10 + ((3, 1, 4000),)), is_file=False)
        ),
        "views of a text": (REJECT, ARROW, write_table(Table(20_000, 1, ((6, 1, 4000),) * 4), is_file=False)),
        "wrong shared texts": (REJECT, ARROW, write_table(Table(20_000, 1, ALL_SHARED), is_file=False)),
        "rows of nulls": (REJECT, ARROW, write_table(Table(10**6, 1, ((1, 1, 1),) * len(CUSTOMER)), is_file=False)),
    }  # fmt: skip
    for name, (path, media_type, body) in bodies.items():
        yield name, frame(path, media_type, body), len(body)
    packed = {
        "blanks, compressed": gzip.compress(b" " * (MAX_BYTES + 1)),
        "lists, compressed": gzip.compress(repeat(b"[", b"[],", b"1]")),
        "members of a compressed body": gzip.compress(b"") * 200_000,
    }
    for name, body in packed.items():
        yield name, frame(PREDICT, JSON, body, "content-encoding: gzip\r\n"), MAX_BYTES
    get = b"GET /metrics HTTP/1.1\r\nhost: a\r\n"
    chunked = (
        f"POST {PREDICT} HTTP/1.1\r\nhost: a\r\ncontent-type: {JSON}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    )
    wires = {
        "requests in a row": repeat(b"", get + b"\r\n"),
        "wrong requests in a row": repeat(b"", frame(PREDICT, JSON, b"{}")),
        "headers": repeat(get, b"a: b\r\n"),
        "a long header": repeat(get + b"a: ", b"b"),
        "a long path": repeat(b"GET /", b"a"),
        "trailers": repeat(chunked + b"0\r\n", b"a: b\r\n"),
        "small chunks": repeat(chunked, b"1\r\n \r\n"),
        "a chunk extension": repeat(chunked + b"1;", b"a"),
    }
    for name, data in wires.items():
        yield name, data, len(data)
