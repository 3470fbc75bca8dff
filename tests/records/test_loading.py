"""Files that are loaded: what their folder, their locks and their frames may do to a loader."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from record_samples import MARCH

from churn.errors import TableError
from records import adoption as adoption_module
from records import loading, spill
from records.adoption import Adoption
from records.chain import Chain
from records.find import find
from records.loading import FilesError, SessionLoader
from records.messages import Frame, Single, encode
from records.spill_writer import SpillWriter
from records.store import RecordStore, open_store
from records.verify import verify

OWN, FIRST, SECOND = "0" * 16, "a" * 16, "b" * 16


def frame(*names: int) -> bytes:
    """Return an encoded frame."""
    entries = [Single(MARCH, f"r-{name}", None, name, b"{}", 0.25, 0) for name in names]
    return encode(Frame(0, len(names), [(0.5, "1", "ab" * 32, "onnx")], [*entries]))[4:]


def leave(folder: Path, session: str, *frames: bytes) -> Path:
    """Do what a worker does that is killed; return its file."""
    files = SpillWriter(folder, session, 10**6)
    files.lock()
    for data in frames:
        assert files.append(data, 1) == ""
    files.close()
    return folder / f"{session}-{0:015}.spill"


def customers(store: RecordStore) -> list[int]:
    return sorted(int(str(record.customer_id)) for record in find(store, limit=1000).records)


def test_files_of_other_programs_stay_where_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    leave(folder, FIRST, frame(1))
    others = [folder / name for name in ("uv.lock", "cafe.lock", "*.lock", "x-1.spill", f"{FIRST}-1.lock")]
    for path in others:
        path.write_text("of somebody else")
    store = open_store(f"sqlite:///{tmp_path / 'records.db'}", create=True)
    adoption = Adoption(store, folder, OWN)
    while adoption.load() is not None:
        pass
    assert customers(store) == [1]
    assert sorted(folder.iterdir()) == sorted(others)


def load_all(adoption: Adoption) -> tuple[int, int]:
    """Return the customers that were loaded and lost until there is nothing to do."""
    loaded = lost = 0
    for _ in range(100):
        if (adopted := adoption.load()) is None:
            return loaded, lost
        loaded, lost = loaded + adopted.customers, lost + adopted.lost
    raise AssertionError("it goes on for ever")


def test_only_what_is_loaded_now_is_counted(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave(tmp_path, FIRST, frame(1), frame(2), frame(3))
    path.rename(path.with_name(f"{FIRST}-{2:015}.spill"))  # two more before them are not there
    loader = SessionLoader(store, tmp_path, FIRST)
    monkeypatch.setattr(loading, "LOAD_CUSTOMERS", 1)
    while not customers(store):
        assert loader.load()
    loader.drop()
    assert load_all(Adoption(store, tmp_path, OWN)) == (2, 0)
    leave(tmp_path, SECOND, frame(4), frame(5)[:-1])
    path = leave(tmp_path, SECOND, frame(4))
    path.rename(path.with_name(f"{SECOND}-{7:015}.spill"))
    assert load_all(Adoption(store, tmp_path, OWN)) == (1, 7)


def test_a_frame_of_another_program_is_kept_beside_and_those_of_others_are_loaded(
    store: RecordStore, tmp_path: Path
) -> None:
    leave(tmp_path, FIRST, frame(1), b"\x93\x01\x02\x03", frame(3))
    leave(tmp_path, SECOND, frame(4), b"\x93\x01\x02\x03")
    assert load_all(Adoption(store, tmp_path, OWN)) == (2, 0)
    assert customers(store) == [1, 4]
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.stem != "records") == [".damaged", ".damaged"]


def test_a_file_that_cannot_be_read_stays_and_keeps_nobody_busy(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = leave(tmp_path, FIRST, frame(1), frame(2))
    leave(tmp_path, SECOND, frame(3))
    pread = os.pread

    def fail(descriptor: int, length: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == path:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, length, offset)

    monkeypatch.setattr(spill.os, "pread", fail)
    adoption = Adoption(store, tmp_path, OWN)
    assert load_all(adoption) == (1, 0)
    assert capsys.readouterr().err.count("Input/output error") == 1
    assert path.exists()
    monkeypatch.undo()
    monkeypatch.setattr(adoption_module, "LEFT_SECONDS", -1.0)
    assert load_all(Adoption(store, tmp_path, OWN)) == (2, 0)
    assert customers(store) == [1, 2, 3]


def test_a_folder_whose_files_cannot_be_removed_is_loaded_once(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, FIRST, frame(1))
    leave(tmp_path, SECOND, frame(2))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", fail)
    assert load_all(Adoption(store, tmp_path, OWN)) == (2, 0)
    assert load_all(Adoption(store, tmp_path, OWN)) == (0, 0)
    assert customers(store) == [1, 2]


def test_a_fault_takes_one_entry_only(store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path, FIRST, frame(1, 2), frame(3, 4, 5, 6), frame(7))
    link = Chain.link

    def link_or_fail(chain: Chain, decisions: Any) -> Any:
        decisions = list(decisions)
        if any(one.customer_id in ("3", "5") for one in decisions):
            raise ValueError("a fault")
        return link(chain, decisions)

    monkeypatch.setattr(Chain, "link", link_or_fail)
    assert load_all(Adoption(store, tmp_path, OWN)) == (5, 2)
    assert customers(store) == [1, 2, 4, 6, 7]
    assert verify(store).faults == []


def test_a_fault_before_any_record_gives_none_up(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, FIRST, frame(1))
    loader = SessionLoader(store, tmp_path, FIRST)
    assert loader.load()
    files = SpillWriter(tmp_path, FIRST, 10**6)
    files.lock()
    files.append(frame(2), 1)
    monkeypatch.setattr(loading, "SpillReader", None)
    loader.drop()
    for _ in range(5):
        with pytest.raises(FilesError, match="NoneType"):
            loader.load()
    monkeypatch.undo()
    while loader.load():
        pass
    assert (loader.take_lost(), customers(store)) == (0, [1, 2])


def test_two_loaders_of_a_session_do_not_repeat_each_other(
    store: RecordStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, FIRST, frame(1), frame(2))
    first, second = (SessionLoader(one, tmp_path, FIRST) for one in (store, open_store(url)))
    read = first._read

    def read_late() -> Any:
        found = read()
        if found is not None and not customers(store):
            assert second.load()  # after the first one has seen that nothing is loaded
        return found

    monkeypatch.setattr(first, "_read", read_late)
    with pytest.raises(TableError, match="already"):
        first.load()
    assert not first.load()
    assert customers(store) == [1, 2]


def test_what_cannot_be_read_while_the_worker_lives_is_lost_and_the_next_file_is_loaded(
    store: RecordStore, tmp_path: Path
) -> None:
    path = leave(tmp_path, FIRST, frame(1), frame(2), frame(3))
    content = bytearray(path.read_bytes())
    content[len(frame(1)) + 20] ^= 1
    path.write_bytes(content)
    files = SpillWriter(tmp_path, FIRST, 10**6)
    files.lock()
    files.end = 3
    loader = SessionLoader(store, tmp_path, FIRST)
    assert loader.load()
    assert not loader.load()
    assert (loader.position, loader.take_lost()) == (1, 0)
    for _ in range(2):
        files.skip()
        while loader.load():
            pass
    assert (loader.position, loader.take_lost()) == (3, 2)
    files.append(frame(4), 1)
    assert loader.load()
    assert customers(store) == [1, 4]


def test_what_somebody_else_has_loaded_and_removed_is_not_lost(store: RecordStore, url: str, tmp_path: Path) -> None:
    leave(tmp_path, FIRST, frame(1))
    loader = SessionLoader(store, tmp_path, FIRST)
    assert loader.load()
    files = SpillWriter(tmp_path, FIRST, 10**6)
    files.lock()
    files.end = 1
    files.append(frame(2), 1)
    files.close()
    assert load_all(Adoption(open_store(url), tmp_path, OWN)) == (1, 0)
    (tmp_path / f"{FIRST}-{2:015}.spill").write_bytes(b"")
    while loader.load():
        pass
    assert (loader.take_lost(), loader.position, customers(store)) == (0, 2, [1, 2])


def test_a_writer_that_follows_another_counts_what_is_lost_once(store: RecordStore, tmp_path: Path) -> None:
    path = leave(tmp_path, FIRST, frame(6))
    path.rename(path.with_name(f"{FIRST}-{5:015}.spill"))
    loader = SessionLoader(store, tmp_path, FIRST, position=5)
    while loader.load():
        pass
    assert (loader.take_lost(), loader.take_loaded(), loader.position) == (0, 1, 6)
