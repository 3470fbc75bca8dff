"""Decompress request bodies (``Content-Encoding``) up to the maximum body size."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from service.errors import RequestProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = b"content-encoding"

WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Supported encodings, and zlib's ``wbits`` for each."""

BLOCK_BYTES = 64 * 1024
"""Compressed bytes that are passed to zlib at once: it copies what follows the end of a member."""

MAX_MEMBERS = 1000
"""Maximum number of gzip members (RFC 1952). Tools that compress in parallel write one per 128 KiB at least; each takes
some 10 µs, however short."""


def find_encoding(headers: Iterable[tuple[bytes, bytes]], allowed: Iterable[str] = WINDOW_BITS) -> str | None:
    """Return the encoding of a request's body; None if it is not encoded.

    Parameters
    ----------
    headers : iterable of (bytes, bytes)
        Names in lower case.
    allowed : iterable of str
        Supported encodings in lower case. Defaults to those of `WINDOW_BITS`.

    Raises
    ------
    RequestProblem
        415 if the encoding is not one of `allowed`, or if the body was encoded twice.
    """
    sent = b",".join(value for name, value in headers if name == NAME).decode("latin-1")
    encodings = [token.strip().lower() for token in sent.split(",")]
    encodings = [encoding for encoding in encodings if encoding not in {"", "identity"}]
    if not encodings:
        return None
    if len(encodings) > 1 or encodings[0] not in allowed:
        raise RequestProblem.content_encoding(sent, allowed)
    return encodings[0]


def decode(body: bytes, encoding: str, limit: int) -> bytes:
    """Decompress a body.

    Parameters
    ----------
    body : bytes
    encoding : str
        One of `WINDOW_BITS`.
    limit : int
        Maximum decompressed size in bytes.

    Raises
    ------
    RequestProblem
        413 if the decompressed body exceeds the limit, 400 if the data are corrupt, truncated or in too many members.
    """
    whole = bytearray()
    position = 0
    for _ in range(MAX_MEMBERS):
        decompressor = zlib.decompressobj(WINDOW_BITS[encoding])
        while not decompressor.eof:
            block = body[position : position + BLOCK_BYTES]
            if not block:
                raise RequestProblem.malformed_encoding(encoding, "it ends too early")
            try:
                whole += decompressor.decompress(block, limit - len(whole) + 1)
            except zlib.error as error:
                raise RequestProblem.malformed_encoding(encoding, str(error)) from None
            if len(whole) > limit:
                raise RequestProblem.body_too_large(limit)
            position += len(block) - len(decompressor.unused_data)
        if position == len(body):
            return bytes(whole)
        if encoding == "deflate":
            raise RequestProblem.malformed_encoding(encoding, f"{len(body) - position} bytes follow its end")
    raise RequestProblem.malformed_encoding(encoding, f"it has more than {MAX_MEMBERS} members")
