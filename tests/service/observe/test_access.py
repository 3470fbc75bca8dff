"""Access lines: one a request, whole, in order, for machines or for people, and nothing about a customer."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from running import start

from service.observe import access_log
from service.observe.access_log import AccessLog
from service.observe.logs import set_up_logging
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST = ("x" * 128, "OPTIONS", "/v2/models/churn/versions/{version}/infer", 499, 12345.678901, "n" * 64)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written, write by write."""
    writes: list[bytes] = []
    monkeypatch.setattr(access_log.os, "write", lambda _, data: writes.append(bytes(data)))
    return writes


def log_in_loop(log: AccessLog, work: Callable[[AccessLog], Any]) -> None:
    async def run() -> None:
        work(log)
        log.flush()

    asyncio.run(run())


def test_a_line_says_what_was_asked_and_how_it_ended(written: list[bytes]) -> None:
    before = datetime.now(UTC)
    log_in_loop(AccessLog("json", 1), lambda log: log.log("id-1", "POST", "/predict", 200, 0.0123456))
    (line,) = map(json.loads, b"".join(written).splitlines())
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert before - timedelta(seconds=1) <= moment <= datetime.now(UTC)
    assert line == {
        "level": "info", "logger": "service.access", "event": "request", "request_id": "id-1", "method": "POST",
        "route": "/predict", "status": 200, "duration_seconds": 0.012346, "caller": "-",
    }  # fmt: skip


def test_a_line_for_people_says_the_same(written: list[bytes]) -> None:
    log_in_loop(AccessLog("text", 1), lambda log: log.log("id-1", "GET", "/model", 404, 1.5))
    pattern = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z info request_id=id-1 GET /model 404 1\.500000 s -\n"
    assert re.fullmatch(pattern, b"".join(written))


@pytest.mark.parametrize("form", ["json", "text"])
def test_lines_keep_their_order_and_no_write_is_more_than_a_pipe_takes_at_once(form: Any, written: list[bytes]) -> None:
    def log_many(log: AccessLog) -> None:
        for number in range(1007):
            log.log(f"{number:0128}", *LONGEST[1:])

    log_in_loop(AccessLog(form, 1), log_many)
    assert max(map(len, written)) <= 4096
    assert all(data.endswith(b"\n") for data in written)
    lines = b"".join(written).splitlines()
    assert [int(match[1]) for line in lines if (match := re.search(rb"(\d{128})", line))] == list(range(1007))
    assert len(lines) == 1007


def test_lines_do_not_wait_for_more_requests() -> None:
    reader, writer = os.pipe()
    try:

        async def run() -> bytes:
            AccessLog("json", writer).log(*LONGEST)
            await asyncio.sleep(0.5)
            os.set_blocking(reader, False)
            return os.read(reader, 4096)

        assert json.loads(asyncio.run(run()))["request_id"] == LONGEST[0]
    finally:
        os.close(reader)
        os.close(writer)


def test_every_way_through_the_service_logs_one_line_without_the_customer(
    bank_models: Path, written: list[bytes]
) -> None:
    odd = CUSTOMER | {"Geography": "Atlantis"}
    with start(bank_models, access_log=True, log_format="json") as client:
        del written[:]
        client.app.access.flush()  # type: ignore[attr-defined]
        del written[:]
        client.post("/predict", json=CUSTOMER, headers={"x-request-id": "a-1"})
        client.post("/predict", json=odd, headers={"x-request-id": "a-2"})
        client.get("/model", headers={"x-request-id": "a-3"})
        client.get("/secret/Atlantis", headers={"x-request-id": "a-4"})
    text = b"".join(written)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["request_id"], line["route"], line["status"]) for line in lines] == [
        ("a-1", "/predict", 200), ("a-2", "/predict", 422), ("a-3", "/model", 200), ("a-4", "other", 404),
    ]  # fmt: skip
    assert b"Atlantis" not in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_no_variable(
    form: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    set_up_logging(Settings(log_format=form))

    def fail(customer: str) -> None:
        raise RuntimeError(len(customer))

    try:
        fail("a secret " * 2)
    except RuntimeError:
        root.exception("it failed")
    written = capsys.readouterr().err
    assert "RuntimeError" in written
    assert "a secret a secret" not in written
