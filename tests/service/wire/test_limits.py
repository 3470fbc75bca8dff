"""What a connection may send: heads, chunks, requests without a response; and responses that are not read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from running import read_metrics, start
from wires import Wire, list_answers

from service.observe.rejections import LIMITS
from service.settings import Settings
from service.wire.reading import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMITED = Limits(head_bytes=2000, url_bytes=300, field_bytes=400, fields=10, pipelined=4, unread_bytes=1000)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def send(parts: Sequence[bytes], limits: Limits = LIMITED) -> tuple[list[tuple[int, Any]], list[str]]:
    """Return the answers to parts, and the limits of the problems."""

    async def run() -> tuple[list[tuple[int, Any]], list[str]]:
        wire = Wire(limits=limits)
        try:
            return list_answers(await wire.feed(parts)), [problem.limit for problem in wire.refused]
        finally:
            wire.lose()
            await asyncio.sleep(0)

    return asyncio.run(run())


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[first : first + size] for first in range(0, len(data), size)]


@pytest.mark.parametrize("size", [100_000, 50])
@pytest.mark.parametrize(
    ("head", "status", "limit"),
    [
        (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 300), 414, "max_url_bytes"),
        (GET + b"A: b\r\n" * 10 + b"\r\n", 431, "max_head_fields"),
        (GET + b"A: %b\r\n\r\n" % (b"b" * 401), 431, "max_field_bytes"),
        (GET + (b"A: %b\r\n" % (b"b" * 300)) * 7 + b"\r\n", 431, "max_head_bytes"),
        (GET + b"%b: b\r\n\r\n" % (b"a" * 2000), 431, "max_head_bytes"),
    ],
)
def test_a_head_above_a_limit_is_refused(head: bytes, status: int, limit: str, size: int) -> None:
    answers, limits = send(cut(head, size))
    assert [found for found, _ in answers] == [status]
    assert answers[0][1]["type"].startswith("urn:churn:")
    assert f"CHURN_{limit.upper()}" in answers[0][1]["detail"]
    assert limits == [limit]


@pytest.mark.parametrize("size", [100_000, 50])
@pytest.mark.parametrize(
    "head",
    [
        b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 299),
        GET + b"A: b\r\n" * 9 + b"\r\n",
        GET + b"A: %b\r\n\r\n" % (b"b" * 400),
        GET + (b"A: %b\r\n" % (b"b" * 300)) * 6 + b"\r\n",
    ],
)
def test_a_head_up_to_the_limits_is_read(head: bytes, size: int) -> None:
    answers, limits = send([*cut(head, size), *cut(head, size)])
    assert [found for found, _ in answers] == [200, 200]
    assert not limits


@pytest.mark.parametrize("unending", [b"a:" + b"b" * 3000, b"a: b\r\n" * 600], ids=["long trailer", "many trailers"])
def test_trailers_without_end_are_refused(unending: bytes) -> None:
    answers, limits = send([CHUNKED, b"1\r\nx\r\n0\r\n", *cut(unending, 100)])
    assert [found for found, _ in answers] == [431]
    assert limits == ["max_head_bytes"]


def test_a_chunk_extension_without_end_is_refused() -> None:
    answers, limits = send([CHUNKED, b"1;", *cut(b"e" * 3000, 100)])
    assert [found for found, _ in answers] == [431]
    assert limits == ["max_head_bytes"]


def test_what_surrounds_small_chunks_has_no_limit_in_all() -> None:
    answers, limits = send([CHUNKED, *[b"1;ext=1\r\nx\r\n"] * 1000, b"0\r\nA: b\r\n\r\n"])
    assert answers == [(200, ["POST", "/", "x" * 1000])]
    assert not limits


def test_many_small_chunks_arrive_whole_and_apart_from_what_follows() -> None:
    one = CHUNKED + b"1\r\nx\r\n" * 500 + b"0\r\n\r\n"
    answers, _ = send([one + one + GET + b"\r\n"])
    assert answers == [(200, ["POST", "/", "x" * 500])] * 2 + [(200, ["GET", "/", ""])]


def test_too_many_requests_without_a_response_end_the_connection() -> None:
    answers, limits = send([(GET + b"\r\n") * 9])
    assert [found for found, _ in answers] == [200] * 4 + [429]
    assert limits == ["max_pipelined"]


def test_as_many_requests_as_are_allowed_may_wait_again_and_again() -> None:
    answers, limits = send([(GET + b"\r\n") * 4] * 5)
    assert [found for found, _ in answers] == [200] * 20
    assert not limits


def test_nothing_is_read_while_the_client_reads_nothing() -> None:
    async def run() -> list[bool]:
        wire = Wire(limits=LIMITED)
        await wire.feed([GET + b"\r\n"])
        states = [wire.transport.is_paused]
        wire.connection.pause_writing()  # as the transport does above its limit
        states.append(wire.transport.is_paused)
        wire.connection.resume_writing()
        states.append(wire.transport.is_paused)
        wire.connection.data_received((GET + b"\r\n") * 2)
        await wire.settle()
        states += [wire.transport.is_paused, wire.transport.written.count(b"200 OK") == 3]
        wire.lose()
        await asyncio.sleep(0)
        return states

    assert asyncio.run(run()) == [False, True, False, False, True]


def test_each_limit_is_a_setting_and_a_series(bank_models: Path) -> None:
    assert set(LIMITS) <= set(Settings.model_fields)
    with start(bank_models) as client:
        series = read_metrics(client)
    assert {name for name in series if name.startswith("churn_limited")} == {
        f'churn_limited_requests_total{{limit="{limit}"}}' for limit in LIMITS
    }
