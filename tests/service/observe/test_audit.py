"""The audit log: one JSON object a line, bounded in volume, in its own file if there is one."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from service.observe import audit as module
from service.observe.audit import NAME, AuditLog
from service.observe.logs import bind_caller, bind_request_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(path: Path, work: Callable[[AuditLog], Any]) -> list[dict[str, Any]]:
    async def run() -> None:
        log = AuditLog(path)
        try:
            work(log)
        finally:
            log.close()

    asyncio.run(run())
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_who_what_and_when(tmp_path: Path) -> None:
    def work(log: AuditLog) -> None:
        bind_request_id("id-1")
        bind_caller("ops")
        log.record("models changed", action="promote", version=2)

    (line,) = write(tmp_path / "audit", work)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "models changed", "action": "promote", "version": 2, "caller": "ops", "request_id": "id-1",
        "logger": "churn.audit", "level": "info",
    }  # fmt: skip


def test_refusals_of_a_kind_are_told_once_and_counted(tmp_path: Path) -> None:
    def work(log: AuditLog) -> None:
        for number in range(1000):
            log.note_refused("key", "-", f"10.0.0.{number % 250}")
        log.note_refused("scope", "crm", "10.0.0.1")

    lines = write(tmp_path / "audit", work)
    assert [(line["event"], line["reason"], line.get("count")) for line in lines] == [
        ("access refused", "key", None),
        ("access refused", "scope", None),
        ("access refused again", "key", 999),
    ]
    assert lines[0]["address"] == "10.0.0.0"


def test_the_kinds_that_are_told_apart_are_bounded(tmp_path: Path) -> None:
    def work(log: AuditLog) -> None:
        for number in range(1000):
            log.note_refused("scope", f"caller{number}", "10.0.0.1")

    lines = write(tmp_path / "audit", work)
    assert len(lines) == module.MAX_KINDS + 2
    assert lines[-1]["reason"] == "others"
    assert lines[-1]["count"] == 1000 - module.MAX_KINDS - 1


def test_counts_are_told_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COLLAPSE_SECONDS", 0.0)

    async def run() -> None:
        log = AuditLog(tmp_path / "audit")
        log.note_refused("key", "-", "a")
        log.note_refused("key", "-", "a")
        while "again" not in (tmp_path / "audit").read_text():
            await asyncio.sleep(0.001)
        log.note_refused("key", "-", "a")
        log.close()

    asyncio.run(run())
    events = [json.loads(line)["event"] for line in (tmp_path / "audit").read_text().splitlines()]
    assert events == ["access refused", "access refused again", "access refused"]


def test_a_renamed_file_is_opened_again(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit")
    log.record("one")
    (tmp_path / "audit").rename(tmp_path / "audit.1")
    log.record("two")
    log.close()
    assert json.loads((tmp_path / "audit").read_text())["event"] == "two"


def test_without_a_file_the_lines_are_in_the_log_whatever_its_level(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    try:
        log = AuditLog()
        log.record("keys reloaded")
        log.close()
    finally:
        logging.getLogger().setLevel(logging.WARNING)
    assert [record.name for record in caplog.records] == [NAME]


def test_a_file_that_can_not_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AuditLog(tmp_path / "none" / "audit")
