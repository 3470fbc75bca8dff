"""The files of a session: read as they were appended, whatever happened to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from record_samples import MARCH

from records import spill, spill_writer
from records.messages import Frame, Single, encode
from records.spill import list_files, list_sessions, lock_session
from records.spill_reader import SpillReader
from records.spill_writer import SpillWriter
from service.keeping import backlog as backlog_module
from service.keeping.backlog import Backlog

if TYPE_CHECKING:
    from pathlib import Path

SESSION = "5e55000000000000"


def frame(number: int, customers: int = 1) -> bytes:
    """Return an encoded frame."""
    single = Single(MARCH, f"r-{number}", None, number, b"{}", 0.25, 0)
    return encode(Frame(number, customers, [(0.5, "1", "ab" * 32, "onnx")], [single] * customers))[4:]


def write(folder: Path, *frames: bytes) -> SpillWriter:
    files = SpillWriter(folder, SESSION, 10**6)
    assert files.lock() is not None
    for data in frames:
        assert files.append(data, 1) == ""
    return files


def read(reader: SpillReader) -> list[tuple[int, int]]:
    """Return position and number of each frame that follows."""
    found = []
    while (one := reader.read()) is not None:
        found.append((one[0], one[1].number))
    return found


def test_frames_are_read_while_they_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill_writer, "FILE_BYTES", 200)
    files, reader = write(tmp_path), SpillReader(tmp_path, SESSION)
    assert read(reader) == []
    for number in range(20):
        assert files.append(frame(number), 1) == ""
        if number % 3 == 0:
            assert read(reader) == [(at, at) for at in range(max(0, number - 2), number + 1)]
    assert read(reader) == [(19, 19)]
    assert len(list_files(tmp_path, SESSION)) > 3
    files.release(19)
    assert len(list_files(tmp_path, SESSION)) == 1
    files.renew()
    files.release(20)
    assert list_files(tmp_path, SESSION) == []
    files.append(frame(20), 1)
    assert read(reader) == [(20, 20)]


def test_a_frame_is_read_when_it_is_whole(tmp_path: Path) -> None:
    files = write(tmp_path, frame(1))
    (file,) = list_files(tmp_path, SESSION)
    reader = SpillReader(tmp_path, SESSION)
    assert read(reader) == [(0, 1)]
    files.append(frame(2), 1)
    whole = file.path.read_bytes()
    for length in (len(whole) // 2 + 3, len(whole) - 1):
        file.path.write_bytes(whole[:length])
        assert read(reader) == []
    file.path.write_bytes(whole)
    assert read(reader) == [(1, 2)]


def test_what_a_kill_left_incomplete_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, frame(1), frame(2)).close()
    (file,) = list_files(tmp_path, SESSION)
    whole = file.path.read_bytes()
    for length in (len(whole) - 1, len(frame(1)) + 8 + 3, len(frame(1)) + 8):
        file.path.write_bytes(whole[:length])
        assert read(SpillReader(tmp_path, SESSION, is_over=True)) == [(0, 1)]
    assert capsys.readouterr().err == ""
    assert [path.suffix for path in tmp_path.iterdir() if path != file.path] == [".lock"]


@pytest.mark.parametrize("byte", [0, 3, 12], ids=["length", "huge length", "content"])
@pytest.mark.parametrize("is_over", [True, False])
def test_what_was_damaged_is_kept_and_named_and_the_next_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], byte: int, *, is_over: bool
) -> None:
    files = write(tmp_path, frame(1), frame(2), frame(3))
    files.renew()
    files.append(frame(4), 1)
    file, _ = list_files(tmp_path, SESSION)
    written, begin = file.path.read_bytes(), len(frame(1)) + 8
    damaged = written[: begin + byte] + bytes([written[begin + byte] ^ 0x41]) + written[begin + byte + 1 :]
    file.path.write_bytes(damaged)
    assert read(SpillReader(tmp_path, SESSION, is_over=is_over)) == [(0, 1), (3, 4)]
    kept = file.path.with_suffix(".damaged")
    assert kept.read_bytes() == damaged[begin:]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert f"damaged at byte {begin}" in capsys.readouterr().err


def test_zeros_that_a_power_failure_leaves_are_no_frame(tmp_path: Path) -> None:
    write(tmp_path, frame(1)).close()
    (file,) = list_files(tmp_path, SESSION)
    with file.path.open("ab") as out:
        out.write(bytes(4096))
    assert read(SpillReader(tmp_path, SESSION, is_over=True)) == [(0, 1)]


def test_a_session_is_locked_until_all_that_have_it_have_ended(tmp_path: Path) -> None:
    files = write(tmp_path, frame(1))
    assert list_sessions(tmp_path) == [SESSION]
    assert lock_session(tmp_path, SESSION) is None
    files.close()
    assert lock_session(tmp_path, SESSION) is not None
    assert lock_session(tmp_path, SESSION) is None


def test_a_folder_that_cannot_be_written_to_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = SpillWriter(tmp_path / "file", SESSION, 10**6)
    assert files.lock() is None
    assert "file" in files.append(frame(1), 1)
    assert "not locked" in SpillWriter(tmp_path, SESSION, 10**6).append(frame(1), 1)
    small = SpillWriter(tmp_path, SESSION, 300)
    small.lock()
    reasons = [small.append(frame(number), 1) for number in range(10)]
    assert reasons[0] == ""
    assert "CHURN_RECORDS_SPILL_BYTES" in reasons[-1]
    small.renew()
    small.release(small.end)
    assert small.append(frame(10), 1) == ""


def test_a_frame_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(tmp_path, frame(1))
    write_all = spill.os.write

    def write_half(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write_all(descriptor, data[: len(data) - 10])

    monkeypatch.setattr(spill.os, "write", write_half)
    assert "No space left on device" in files.append(frame(2), 1)
    monkeypatch.undo()
    assert files.append(frame(3), 1) == ""
    assert read(SpillReader(tmp_path, SESSION)) == [(0, 1), (1, 3)]


@pytest.mark.parametrize("what", ["file", "folder", "lock"])
def test_what_is_removed_is_created_anew(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "spill"
    files = write(folder, frame(1))
    old = files.lock()
    if what == "folder":
        folder.rename(tmp_path / "away")
    elif what == "lock":
        (folder / f"{SESSION}.lock").unlink()
        other = lock_session(folder, SESSION)
        assert other is not None
        files.renew()
        assert "another process" in files.append(frame(2), 1)
        os.close(other)
        list_files(folder, SESSION)[0].path.unlink()
    else:
        list_files(folder, SESSION)[0].path.unlink()
    assert files.append(frame(3), 1) == ""
    assert (files.lock() == old) is (what == "file")
    assert lock_session(folder, SESSION) is None
    assert read(SpillReader(folder, SESSION)) == [(1, 3)]
    files.close()
    assert lock_session(folder, SESSION) is not None


def test_a_file_that_cannot_be_removed_counts_until_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(tmp_path, frame(1))
    files.renew()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.unlink", fail)
    backlog = Backlog(files)
    backlog.settle(1)
    assert "Read-only" in backlog.fault
    assert files.size > 0
    monkeypatch.undo()
    backlog.settle(1)
    assert (backlog.fault, files.size) == ("", 0)


def test_a_frame_that_is_written_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, write_all = write(tmp_path), os.write
    monkeypatch.setattr(spill.os, "write", lambda descriptor, data: write_all(descriptor, data[:10]))
    assert files.append(frame(1), 1) == ""
    assert read(SpillReader(tmp_path, SESSION)) == [(0, 1)]


def test_an_empty_file_is_gone_on_with(tmp_path: Path) -> None:
    files, reader = write(tmp_path, frame(1)), SpillReader(tmp_path, SESSION)
    assert read(reader) == [(0, 1)]
    for _ in range(2):
        files.skip()
        files.renew()
        files.release(files.end)
        assert read(reader) == []
    (file,) = list_files(tmp_path, SESSION)
    assert file.first == 1
    file.path.unlink()
    assert read(reader) == []
    files.append(frame(2), 1)
    assert read(reader) == [(1, 2)]
    files.skip()
    files.release(files.end)
    files.close()
    assert [file.first for file in list_files(tmp_path, SESSION)] == [2]


def test_spilled_customers_are_remembered_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "MERGED_CUSTOMERS", 10)
    backlog = Backlog(write(tmp_path))
    for number in range(25):
        assert backlog.append(frame(number), 1) == ""
        backlog.spill()
    assert (backlog.waiting, backlog.spilled) == (0, 25)
    assert len(backlog._parts) == 3
    assert backlog.settle(9) == (0, 0)
    assert backlog.settle(20) == (0, 20)
    assert backlog.append(frame(25), 1) == ""
    assert backlog.settle(26) == (1, 5)
    assert (backlog.waiting, backlog.spilled, backlog.size) == (0, 0, 0)
