"""The process that writes records: what it makes of entries, and what it does when the store fails."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from record_samples import MARCH, make_decision
from waiting import DEADLINE, wait_until

from churn.errors import TableError
from records import checkpoints, flushing, loading, own_files
from records import writer as writer_module
from records.chain import Chain
from records.expand import expand, split_list
from records.find import find
from records.flushing import Flusher
from records.ledger import Ledger
from records.loading import SessionLoader
from records.messages import (
    Adopted,
    Appended,
    Block,
    Condition,
    Done,
    Frame,
    Loaded,
    Many,
    Single,
    Splitter,
    Start,
    Texts,
    decode_frame,
    decode_message,
    decode_report,
    encode,
)
from records.priority import LOWEST, NICE, Priority
from records.spill_writer import SpillWriter
from records.store import open_store
from records.verify import verify
from records.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from records.store import RecordStore

ORIGINS = [(0.5, "1", "ab" * 32, "onnx"), (0.1, "2", "cd" * 32, "tensorflow")]


def single(number: int, **changed: Any) -> Single:
    body = b'{"CustomerId": %d}' % number
    fields = {"time": MARCH + number, "request_id": f"r-{number}", "key": None, "identifier": number, "body": body}
    return Single(**{**fields, "probability": 0.25, "origin": 0, **changed})


def frame(number: int, *customers: int) -> Frame:
    return Frame(number, len(customers), ORIGINS, [single(customer) for customer in customers])


def test_messages_are_found_however_they_arrive() -> None:
    frames = [frame(1, 1, 2), frame(2, 3)]
    data = b"".join(map(encode, frames))
    for size in (1, 3, 7, len(data)):
        splitter = Splitter()
        found = [m for begin in range(0, len(data), size) for m in splitter.feed(data[begin : begin + size])]
        assert [decode_message(message) for message in found] == frames


def test_customers_of_a_list_stay_as_they_were_sent() -> None:
    one, two = '{"b": 1.50,  "a": "ä\\n"}', '{"a":\t1e2}'
    body = f'\ufeff {{"x": [1], "customers" : [ {one},\n{two} ]}}'.encode()
    assert split_list(body) == [one, two]
    assert split_list(b'{"customers": [{"a": 1, "ignored": NaN}]}') == ['{"a": 1, "ignored": NaN}']
    half = b'{"customers": [{"a": "\xc3\xa4 \\ud800", "ignored": NaN}, {"a": "\xc3\xa4 \\ud83d\\ude00", "b": NaN}]}'
    assert split_list(half) == ['{"a": "\\u00e4 \\ud800", "ignored": NaN}', '{"a": "ä 😀", "b": NaN}']


def test_each_customer_has_its_own_probability_origin_and_reasons() -> None:
    body = b'{"customers": [{"a": 1}, {"a": 2}]}'
    many = Many(MARCH, "r", "crm", ["x", None], body, [0.3, 0.4], [0, 1], ["[1]", "[2]"], "texts=parse")
    first, second = expand(Frame(1, 2, ORIGINS, [many]))
    assert (first.input, first.customer_id, first.probability, first.churn, first.model_version, first.reasons) == (
        '{"a": 1}', "x", 0.3, False, "1", "[1]",
    )  # fmt: skip
    assert (second.input, second.customer_id, second.churn, second.engine, second.reasons, second.read_as) == (
        '{"a": 2}', None, True, "tensorflow", "[2]", "texts=parse",
    )  # fmt: skip
    texts = Texts(MARCH, "r", None, None, ["{}"], [0.5], 0)
    (only,) = expand(Frame(1, 1, ORIGINS, [texts]))
    assert (only.input, only.churn, only.customer_id) == ("{}", False, None)
    both = Texts(MARCH, "r", None, None, ["{}", "{}"], [0.3, 0.3], 0, origins=[1, 0])
    assert [(one.model_version, one.churn) for one in expand(Frame(1, 2, ORIGINS, [both]))] == [
        ("2", True), ("1", False),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="2 customers were sent, and 1 scored"):
        expand(Frame(1, 1, ORIGINS, [Many(MARCH, "r", None, None, body, [0.3], [0])]))


def test_a_frame_that_an_older_program_put_into_a_file_is_read() -> None:
    batch = pa.record_batch({"Age": pa.array([30, 40])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue().to_pybytes()
    texts = [3, MARCH, "r", None, None, ["{}"], [0.5], 1, None, None]  # as it wrote them: without `origins`
    block = [4, MARCH, "r", None, "Id", stream, [0.5, 0.5], 1, None, None]
    decisions = expand(decode_frame(msgspec.msgpack.encode([1, 1, 3, ORIGINS, [texts, block]])))
    assert [one.model_version for one in decisions] == ["2"] * 3
    block.append([1, 0])
    decisions = expand(decode_frame(msgspec.msgpack.encode([1, 2, 2, ORIGINS, [block]])))
    assert [one.model_version for one in decisions] == ["2", "1"]


@pytest.mark.parametrize(
    ("identifiers", "customers", "inputs"),
    [
        (pa.array([7.0, None, float("nan")]), ["7", None, None], [7, None, None]),
        (pa.array([7, 2**63], pa.uint64()), ["7", str(2**63)], [7, 2**63]),
        (pa.array([Decimal("7.00")]), ["7"], ["7.00"]),
        (pa.array([bytes(16)], pa.binary(16)), [str(UUID(int=0))], [str(UUID(int=0))]),
        (pa.array(["a", "07"]).dictionary_encode(), ["a", "07"], ["a", "07"]),
        (pa.array([True]), ["true"], [True]),
    ],
)
def test_customers_of_tables_are_named_as_they_are_answered(
    identifiers: pa.Array, customers: list[str | None], inputs: list[Any]
) -> None:
    batch = pa.record_batch({"Id": identifiers, "Age": pa.array(range(len(identifiers)))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    block = Block(MARCH, "r", None, "Id", sink.getvalue().to_pybytes(), [0.5] * len(batch), 0, None, "texts=parse")
    decisions = expand(Frame(1, len(batch), ORIGINS, [block]))
    assert [one.customer_id for one in decisions] == customers
    assert [json.loads(one.input)["Id"] for one in decisions] == inputs


SESSION = "5e55000000000000"


class Wire:
    """A worker's end of the link, and its files in mode behind."""

    def __init__(self, link: socket.socket, files: SpillWriter | None) -> None:
        self.link = link
        self.files = files
        self.reports: list[Any] = []
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()

    def _listen(self) -> None:
        splitter = Splitter()
        while data := self.link.recv(1 << 16):
            self.reports += map(decode_report, splitter.feed(data))

    def send(self, *frames: Frame) -> None:
        self.link.sendall(b"".join(map(encode, frames)))

    def hand_over(self, *frames: Frame) -> None:
        """Append frames in mode behind, send them in mode durable."""
        if self.files is None:
            self.send(*frames)
            return
        for one in frames:
            assert self.files.append(encode(one)[4:], one.count) == ""
        self.link.sendall(encode(Appended(self.files.end)))

    def wait_for(self, wanted: Callable[[Any], bool]) -> Any:
        wait_until(lambda: any(map(wanted, self.reports)), "the report")
        return next(report for report in self.reports if wanted(report))

    def wait_done(self, number: int) -> Done:
        found: Done = self.wait_for(lambda report: isinstance(report, Done) and report.number >= number)
        return found

    def wait_loaded(self, end: int) -> None:
        self.wait_for(lambda report: isinstance(report, Loaded) and report.end >= end)

    def wait_kept(self, number: int, end: int) -> None:
        """Wait for a frame, up to which there are `end` customers."""
        if self.files is None:
            assert self.wait_done(number).state == "committed"
        else:
            self.wait_loaded(end)

    def wait_for_problem(self, problem: str) -> None:
        self.wait_for(lambda report: isinstance(report, Condition) and problem in report.problem)


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "spill").iterdir())


@contextmanager
def writing(url: str, folder: Path, *, durable: bool = False, **more: Any) -> Iterator[Wire]:
    """Run a writer in a thread."""
    ours, theirs = socket.socketpair()
    files = None if durable else SpillWriter(folder / "spill", more.get("session", SESSION), 10**6)
    if files is not None:
        assert files.lock() is not None
    priority = more.pop("priority", None)
    start = Start(url, durable, str(folder / "spill"), **{"session": SESSION, **more})
    thread = threading.Thread(target=Writer(theirs, start, Splitter(), priority).run)
    thread.start()
    wire = Wire(ours, files)
    try:
        yield wire
    finally:
        ours.shutdown(socket.SHUT_WR)
        thread.join(DEADLINE)
        assert not thread.is_alive()
        theirs.close()
        wire.listener.join(DEADLINE)
        ours.close()
        if files is not None:
            files.close()


def leave_behind(folder: Path, session: str, *frames: Frame) -> None:
    """Do what a worker does that is killed with its writer."""
    files = SpillWriter(folder / "spill", session, 10**6)
    files.lock()
    for one in frames:
        assert files.append(encode(one)[4:], one.count) == ""
    files.close()


def customers(store: RecordStore) -> list[int]:
    return sorted(int(str(record.customer_id)) for record in find(store, limit=10_000).records)


@pytest.mark.parametrize("durable", [True, False])
def test_frames_are_committed_in_order_and_sealed_at_the_end(url: str, tmp_path: Path, *, durable: bool) -> None:
    with writing(url, tmp_path, durable=durable) as wire:
        wire.hand_over(*[frame(number, number) for number in range(1, 50)])
        wire.wait_kept(49, 49)
    store = open_store(url)
    assert customers(store) == [*range(1, 50)]
    result = verify(store)
    assert (result.faults, result.seals) == ([], 1)
    assert durable or list_files(tmp_path) == []


def test_what_comes_after_a_kill_in_mode_durable_is_new(url: str, tmp_path: Path) -> None:
    with writing(url, tmp_path, durable=True) as wire:
        wire.send(frame(1, 1), frame(2, 2))
        done = wire.wait_done(2)
    # The acknowledgement of frame 2 was lost, so its answer was refused; frame 3 is of another request.
    with writing(url, tmp_path, durable=True, writer=done.writer) as wire:
        wire.send(frame(3, 3))
        assert wire.wait_done(3).state == "committed"
    assert customers(open_store(url)) == [1, 2, 3]


def test_frames_that_fit_into_no_file_are_committed_as_they_come(url: str, tmp_path: Path) -> None:
    with writing(url, tmp_path) as wire:
        wire.send(frame(1, 1))
        wire.hand_over(frame(2, 2, 3))
        assert wire.wait_done(1).state == "committed"
        wire.wait_loaded(2)
    assert customers(open_store(url)) == [1, 2, 3]
    assert verify(open_store(url)).faults == []


@pytest.mark.parametrize("loaded", [0, 1, 3])
def test_a_writer_that_follows_another_leaves_out_what_is_loaded(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: int
) -> None:
    frames = [frame(number, number) for number in range(1, 4)]
    leave_behind(tmp_path, SESSION, *frames)
    store = open_store(url, create=True)
    loader = SessionLoader(store, tmp_path / "spill", SESSION)
    monkeypatch.setattr(loading, "LOAD_CUSTOMERS", 1)
    for _ in range(loaded):
        assert loader.load()
    loader.close()
    with writing(url, tmp_path) as wire:
        assert wire.files is not None
        wire.files.end = 3  # the worker's, which has not ended
        wire.hand_over(frame(4, 4, 5))
        wire.wait_loaded(5)
    assert customers(store) == [1, 2, 3, 4, 5]
    assert verify(store).faults == []
    assert list_files(tmp_path) == []


def test_what_others_have_left_behind_is_loaded_once_they_have_ended(url: str, tmp_path: Path) -> None:
    leave_behind(tmp_path, "dead000000000000", frame(1, 1), frame(2, 2))
    leave_behind(tmp_path, "dead200000000000", frame(1, 3))
    living = SpillWriter(tmp_path / "spill", "11fe000000000000", 10**6)
    living.lock()
    living.append(encode(frame(1, 4))[4:], 1)
    store = open_store(url, create=True)
    with writing(url, tmp_path) as wire:
        wait_until(
            lambda: (
                list_files(tmp_path)
                == ["11fe000000000000-000000000000000.spill", "11fe000000000000.lock", f"{SESSION}.lock"]
            )
        )
        assert customers(store) == [1, 2, 3]
        assert sum(report.customers for report in wire.reports if isinstance(report, Adopted)) == 3
        living.close()
        wait_until(lambda: customers(store) == [1, 2, 3, 4])
    assert verify(store).faults == []
    assert list_files(tmp_path) == []


def test_what_was_left_behind_is_loaded_by_a_service_in_mode_durable(url: str, tmp_path: Path) -> None:
    leave_behind(tmp_path, "dead000000000000", frame(1, 1), frame(2, 2))
    with writing(url, tmp_path, durable=True) as wire:
        wire.send(frame(1, 3))
        assert wire.wait_done(1).state == "committed"
        wait_until(lambda: list_files(tmp_path) == [])
    assert customers(open_store(url)) == [1, 2, 3]
    assert verify(open_store(url)).faults == []


class Broken:
    """Lets the commits of a ledger fail, before or after they are done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_down = False
        self.breaks_after = False
        append, open_, touch = Ledger.append, Ledger.open, Ledger.touch

        def fail_append(ledger: Ledger, decisions: Any) -> None:
            if self.is_down:
                raise TableError("down")
            append(ledger, decisions)
            if self.breaks_after:
                self.breaks_after, self.is_down = False, True
                ledger.drop()
                raise TableError("the connection broke")

        def fail_open(ledger: Ledger) -> Any:
            if self.is_down:
                raise TableError("down")
            return open_(ledger)

        def fail_touch(ledger: Ledger) -> None:
            if self.is_down:
                raise TableError("down")
            touch(ledger)

        monkeypatch.setattr(Ledger, "append", fail_append)
        monkeypatch.setattr(Ledger, "open", fail_open)
        monkeypatch.setattr(Ledger, "touch", fail_touch)
        monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0.05)


@pytest.mark.parametrize("durable", [True, False])
def test_a_commit_whose_end_was_not_seen_is_not_repeated(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    broken = Broken(monkeypatch)
    with writing(url, tmp_path, durable=durable) as wire:
        wire.hand_over(frame(1, 1))
        wire.wait_kept(1, 1)
        broken.breaks_after = True
        wire.hand_over(frame(2, 2, 3))
        wire.wait_for_problem("down" if durable else "the connection broke")
        broken.is_down = False
        wire.reports.clear()
        wire.wait_for(lambda report: isinstance(report, Condition) and not report.problem)
        wire.hand_over(frame(3, 4))
        wire.wait_kept(3, 4)
    store = open_store(url)
    assert customers(store) == [1, 2, 3, 4]
    assert verify(store).faults == []


def test_durable_refuses_with_the_reason_and_goes_on(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(monkeypatch)
    with writing(url, tmp_path, durable=True) as wire:
        wire.wait_for(lambda report: isinstance(report, Condition) and not report.problem)
        broken.is_down = True
        wire.send(frame(1, 1), frame(2, 2))
        done = wire.wait_done(2)
        assert (done.state, done.reason) == ("refused", "down")
        broken.is_down = False
        wire.reports.clear()
        wire.wait_for(lambda report: isinstance(report, Condition) and not report.problem)
        wire.send(frame(3, 3))
        assert wire.wait_done(3).state == "committed"
    assert customers(open_store(url)) == [3]


@pytest.mark.parametrize("durable", [True, False])
def test_a_frame_that_cannot_be_read_takes_no_other_with_it(url: str, tmp_path: Path, *, durable: bool) -> None:
    bad = Frame(2, 1, ORIGINS, [single(2, body=b"\xff")])
    with writing(url, tmp_path, durable=durable) as wire:
        wire.hand_over(frame(1, 1), bad, frame(3, 3))
        wire.hand_over(bad, frame(5, 5))
        if durable:
            wire.wait_done(5)
            states = [report.state for report in wire.reports if isinstance(report, Done)]
            assert states.count("refused") == 2
        else:
            wire.wait_loaded(5)
            assert sum(report.lost for report in wire.reports if isinstance(report, Loaded)) == 2
    assert customers(open_store(url)) == [1, 3, 5]
    assert verify(open_store(url)).faults == []


@pytest.mark.parametrize("durable", [True, False])
def test_a_fault_while_a_frame_is_written_is_no_commit(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    link = Chain.link

    def link_or_fail(chain: Chain, decisions: Any) -> Any:
        decisions = list(decisions)
        if any(decision.customer_id == "2" for decision in decisions):
            raise ValueError("a fault")
        return link(chain, decisions)

    monkeypatch.setattr(Chain, "link", link_or_fail)
    with writing(url, tmp_path, durable=durable) as wire:
        wire.hand_over(frame(1, 1))
        wire.wait_kept(1, 1)
        wire.hand_over(frame(2, 2), frame(3, 3))
        if durable:
            states = {wire.wait_done(number).number: wire.wait_done(number).state for number in (2, 3)}
            assert states[2] == "refused"
        else:
            wire.wait_loaded(3)
            assert sum(report.lost for report in wire.reports if isinstance(report, Loaded)) == 1
    assert customers(open_store(url)) == [1, 3]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("restored", [True, False])
def test_nothing_is_written_to_a_file_that_is_no_longer_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool, restored: bool
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0.05)
    path = tmp_path / "records.db"
    url = f"sqlite:///{path}"
    open_store(url, create=True)
    older = path.read_bytes()
    with writing(url, tmp_path, durable=durable) as wire:
        wire.hand_over(frame(1, 1))
        wire.wait_kept(1, 1)
        for name in ("records.db", "records.db-wal", "records.db-shm"):
            (tmp_path / name).rename(tmp_path / f"away-{name}")
        if restored:
            path.write_bytes(older)
        wire.hand_over(frame(2, 2))
        wire.wait_for_problem("the file was removed, or replaced")
        assert path.exists() is restored
    with writing(url, tmp_path, durable=durable, session="5e56000000000000") as wire:
        wire.wait_for(lambda report: isinstance(report, Condition) and not report.problem)
        wait_until(lambda: durable or list_files(tmp_path) == ["5e56000000000000.lock"])
    # What the store does not have and is still in a file is loaded again.
    assert customers(open_store(url)) == ([] if durable else [1, 2])


@pytest.mark.parametrize("durable", [True, False])
def test_a_log_of_sqlite_that_is_removed_takes_no_record_with_it(tmp_path: Path, *, durable: bool) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with writing(url, tmp_path, durable=durable) as wire:
        for number in (1, 2):
            wire.hand_over(frame(number, number))
            wire.wait_kept(number, number)
        (tmp_path / "records.db-wal").unlink()
        wire.hand_over(frame(3, 3))
        wire.wait_kept(3, 3)
        assert (tmp_path / "records.db-wal").exists()
        assert customers(open_store(url)) == [1, 2, 3]
    assert verify(open_store(url)).faults == []


def test_what_waits_for_a_store_that_is_down_is_flushed_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    folders: list[int] = []

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        (folders if stat.S_ISDIR(found.st_mode) else flushed).append(found.st_size)

    monkeypatch.setattr(flushing.os, "fdatasync", note)
    (tmp_path / "file").write_text("")
    with writing(f"sqlite:///{tmp_path / 'file' / 'records.db'}", tmp_path, lag=0.05) as wire:
        assert wire.files is not None
        wire.wait_for_problem("file")
        for number in (1, 2):
            wire.hand_over(frame(number, number))
            wait_until(lambda: flushed[-1:] == [wire.files and wire.files.size])
    assert flushed == sorted(set(flushed))  # not what has been flushed
    assert len(folders) == 1  # of the name of the one file


def test_a_flusher_sleeps_while_nothing_is_appended(tmp_path: Path) -> None:
    asked = threading.Semaphore(0)

    def count_turns() -> int:
        asked.release()
        return 0

    flusher = Flusher(tmp_path, SESSION, 0.0, count_turns)
    for _ in range(2):
        assert not asked.acquire(timeout=0.05)
        flusher.expect()
        assert asked.acquire(timeout=DEADLINE)
        assert asked.acquire(timeout=DEADLINE)
    flusher.close()


def test_the_log_of_sqlite_is_moved_beside_the_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(checkpoints, "LEAST_BYTES", 0)
    url = f"sqlite:///{tmp_path / 'records.db'}"
    store = open_store(url, create=True)
    thread = checkpoints.Checkpoints(open_store(url))
    ledger, log = Ledger(store), tmp_path / "records.db-wal"
    for number in range(20):
        ledger.append([make_decision(n) for n in range(number * 100, number * 100 + 100)])
        thread.move()
    assert log.stat().st_size < 2**20  # of some 10 MB that were written to it
    wait_until(lambda: (tmp_path / "records.db").stat().st_size > 20 * 100 * 300)
    thread.close()
    ledger.close()
    assert verify(store).records == 2000


def test_a_writer_that_is_late_no_longer_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = tmp_path / "autogroup"
    session.touch()
    monkeypatch.setattr(own_files, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(loading, "LOAD_CUSTOMERS", 1)
    set_to: list[int] = []
    monkeypatch.setattr(Priority, "_set", lambda _self, value: set_to.append(value) is None)
    with writing(f"sqlite:///{tmp_path / 'records.db'}", tmp_path, priority=Priority(session)) as wire:
        wire.hand_over(*[frame(number, number) for number in range(1, 6)])
        wire.wait_loaded(5)
    assert set_to[0] == LOWEST
    assert 0 in set_to


def test_without_a_session_of_its_own_the_process_has_a_nice_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nice: list[int] = []
    monkeypatch.setattr(os, "nice", nice.append)
    priority = Priority(tmp_path / "none" / "autogroup")
    priority.lower()
    priority.restore()  # which is impossible
    priority.lower()
    assert nice == [NICE]
    session = tmp_path / "autogroup"
    priority = Priority(session)
    for change, value in ((priority.lower, LOWEST), (priority.restore, 0), (priority.lower, LOWEST)):
        change()
        assert session.read_text() == str(value)
    assert nice == [NICE]
