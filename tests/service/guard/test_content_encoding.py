from __future__ import annotations

import gzip
import zlib

import pytest

from service.errors import RequestProblem
from service.guard.content_encoding import BLOCK_BYTES, MAX_MEMBERS, decode

LIMIT = 10**6


@pytest.mark.parametrize("members", [1, 2, MAX_MEMBERS])
def test_members_are_joined(members: int) -> None:
    assert decode(gzip.compress(b"abc") * members, "gzip", LIMIT) == b"abc" * members


def test_too_many_members_are_refused() -> None:
    with pytest.raises(RequestProblem, match=f"more than {MAX_MEMBERS} members"):
        decode(gzip.compress(b"") * (MAX_MEMBERS + 1), "gzip", LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_of_several_blocks_is_read(encoding: str) -> None:
    body = bytes(range(256)) * 1000
    packed = gzip.compress(body, 0) if encoding == "gzip" else zlib.compress(body, 0)
    assert len(packed) > 2 * BLOCK_BYTES
    assert decode(packed, encoding, LIMIT) == body
    with pytest.raises(RequestProblem, match="ends too early"):
        decode(packed[:-1], encoding, LIMIT)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_decompressed_size_is_limited(size: int) -> None:
    packed = gzip.compress(b" " * size)
    if size == LIMIT:
        assert len(decode(packed, "gzip", LIMIT)) == LIMIT
    else:
        with pytest.raises(RequestProblem, match="CHURN_MAX_BODY_BYTES"):
            decode(packed, "gzip", LIMIT)


def test_what_follows_deflate_is_refused() -> None:
    with pytest.raises(RequestProblem, match="3 bytes follow its end"):
        decode(zlib.compress(b"a") + b"xyz", "deflate", LIMIT)
