"""The process that writes the records of a worker of the service.

It outlives a worker that is killed, until it has written what that has handed over.
"""

from __future__ import annotations

import gc
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from churn.errors import TableError
from records.adoption import Adoption
from records.checkpoints import Checkpoints
from records.expand import expand
from records.journal import JOURNAL_WRITER
from records.ledger import Ledger, touch_writer
from records.loading import LOAD_CUSTOMERS
from records.messages import Condition, Done, Frame, Splitter, decode_message, decode_start, encode
from records.own_files import OwnFiles
from records.priority import Priority
from records.store import RecordStore, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from records.decision import Decision
    from records.messages import Report, Start, State

RETRY_SECONDS = 1.0
"""Interval at which a store that failed is tried again."""

SCAN_SECONDS = 1.0
"""Interval at which files that others have left behind are looked for."""

COMMIT_CUSTOMERS = 2_000
"""Maximum number of customers of frames in one transaction, unless one frame has more."""

RECEIVE_BYTES = 2**20


class Writer:
    """Commits frames of one worker in mode durable, or loads its files; and loads what others have left behind.

    Parameters
    ----------
    link : socket.socket
        To the worker.
    start : Start
    splitter : Splitter
        Has what was received after `start`.
    priority : Priority, optional
        Is lowered while the files are loaded in time.
    """

    def __init__(self, link: socket.socket, start: Start, splitter: Splitter, priority: Priority | None = None) -> None:
        self._link = link
        self._start = start
        self._splitter = splitter
        self._store: RecordStore | None = None
        self._checkpoints: Checkpoints | None = None
        self._ledger: Ledger | None = None
        self._files = None if start.is_durable else OwnFiles(start, priority)
        self._adoption: Adoption | None = None
        self._is_adopting = False
        self._scan_at = 0.0
        self._frames: list[Frame] = []
        self._problem: str | None = None  # None: not known yet
        self._retry_at = 0.0
        self._is_open = True

    def run(self) -> None:
        """Write until the worker has closed the link, then what it has left."""
        self._try_store()
        while self._is_open or self._frames:
            self._receive()
            if self._frames:
                self._keep()
            elif self._problem == "":
                self._load_or_seal()
            if self._problem == "":
                self._adopt()
            elif time.monotonic() >= self._retry_at:
                self._try_store()
        if self._files is not None and self._problem == "":
            with suppress(TableError):  # whoever comes next loads it
                self._files.finish()
        self._close()

    # The link

    def _receive(self) -> None:
        """Take what has arrived; wait for it if there is nothing else to do."""
        seconds = self._wait_seconds()
        while self._is_open and select.select([self._link], [], [], seconds)[0]:
            data = self._link.recv(RECEIVE_BYTES)
            if not data:
                self._is_open = False
                return
            self.take(self._splitter.feed(data))
            seconds = 0.0
            if sum(frame.count for frame in self._frames) >= COMMIT_CUSTOMERS:
                return

    def _wait_seconds(self) -> float:
        """Return for how long more records may be waited for before those that are here are dealt with."""
        if self._frames or self._is_adopting:
            return 0.0
        if self._problem != "" or self._files is None or not self._files.unloaded:
            return RETRY_SECONDS
        return self._files.seconds_left

    def take(self, messages: Iterable[bytes]) -> None:
        """Take encoded frames, and what is said of files."""
        for data in messages:
            message = decode_message(data)
            if isinstance(message, Frame):
                self._frames.append(message)
            elif self._files is not None:
                self._files.expect(message.end)

    def _send(self, message: Report) -> None:
        if self._is_open:
            try:
                self._link.sendall(encode(message))
            except OSError:  # the worker has ended; what was received is written all the same
                self._is_open = False

    def _note(self, problem: str) -> None:
        """Say why the store can't be written to, or that it can, unless that was said."""
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if problem != self._problem:
            self._problem = problem
            self._send(Condition(problem))

    # The store

    def _try_store(self) -> None:
        """Open the store, or write to it, after an error."""
        start = self._start
        try:
            if self._store is None:
                self._store = open_store(start.url, create=True)
                if self._store.database.is_sqlite:
                    self._checkpoints = Checkpoints(open_store(start.url))
            if self._ledger is None:
                self._ledger = Ledger(self._store, writer=start.writer)
            folder = Path(start.spill)
            if self._adoption is None:
                limit = COMMIT_CUSTOMERS if start.is_durable else LOAD_CUSTOMERS  # for which answers wait
                self._adoption = Adoption(self._store, folder, start.session, limit)
            if self._files is None:
                self._ledger.touch()
            else:
                self._files.open(self._store)
                with self._store.writing() as connection:
                    touch_writer(connection, JOURNAL_WRITER)
        except (TableError, OSError) as error:
            self._note(str(error))
            return
        self._note("")

    # Frames

    def _keep(self) -> None:
        """Commit the next frames, or say what became of them."""
        taken, count = 0, 0
        while taken < len(self._frames) and (not count or count + self._frames[taken].count <= COMMIT_CUSTOMERS):
            count += self._frames[taken].count
            taken += 1
        waiting = len(self._frames) - taken
        problem = self._problem or self._commit_all(self._frames[:taken])
        if problem:  # some may have been committed before
            self._finish(len(self._frames) - waiting, self._failure, problem)

    @property
    def _failure(self) -> State:
        """What becomes of a frame that can't be committed."""
        return "refused" if self._start.is_durable else "lost"

    def _commit_all(self, frames: list[Frame]) -> str:
        """Commit frames together, or one by one if one of them can't be read; return why the store can't be written."""
        try:
            problem = self._commit([one for frame in frames for one in expand(frame)])
            if not problem:
                self._finish(len(frames), "committed")
        except Exception:  # noqa: BLE001  whatever it is, the records of others must not be lost by it
            traceback.print_exc()
        else:
            return problem
        for frame in frames:
            try:
                problem = self._commit(expand(frame))
            except Exception as error:  # noqa: BLE001  likewise
                self._finish(1, self._failure, f"a fault: {error!r}")
            else:
                if problem:
                    return problem
                self._finish(1, "committed")
        return ""

    def _commit(self, decisions: list[Decision]) -> str:
        """Commit decisions; return why the store can't be written, or an empty text."""
        ledger = self._ledger
        if ledger is None:
            return "the store is not open"
        before: int | None = None
        for attempt in (1, 2):
            try:
                end = ledger.open().chain.sequence
                before = end if before is None else before
                if end == before:
                    ledger.append(decisions)
            except TableError as error:
                if attempt == 2:
                    self._note(str(error))
                    return str(error)
            else:
                return ""  # now, or by the first attempt, whose end was not seen
        raise AssertionError  # not reached

    def _finish(self, count: int, state: State, reason: str = "") -> None:
        """Acknowledge the next frames, and forget them."""
        number = self._frames[count - 1].number
        del self._frames[:count]
        self._send(Done(number, state, reason, None if self._ledger is None else self._ledger.writer))

    # Files

    def _load_or_seal(self) -> None:
        """Load some of the worker's files if it is time, or seal the records of an hour that is over."""
        files = self._files
        try:
            if files is not None and files.unloaded and not self._wait_seconds():
                if (loaded := files.load()) is not None:
                    self._send(loaded)
                return
            for one in (self._ledger, files):
                if one is not None:
                    one.seal()
        except TableError as error:
            self._note(str(error))

    def _adopt(self) -> None:
        """Load some of what others have left behind."""
        if self._adoption is None or time.monotonic() < self._scan_at:
            return
        try:
            adopted = self._adoption.load()
        except TableError as error:
            self._note(str(error))
            adopted = None
        self._is_adopting = adopted is not None
        if adopted is None:
            self._scan_at = time.monotonic() + SCAN_SECONDS
        else:
            self._send(adopted)

    def _close(self) -> None:
        for one in (self._ledger, self._files):
            if one is not None:
                with suppress(TableError):  # what is not sealed is still in the chain
                    one.close()
        for other in (self._adoption, self._checkpoints):
            if other is not None:
                other.close()


def main() -> None:
    """Run a writer on the socket whose descriptor is the argument."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its worker has
    # Records are no cycles, and looking for some among them takes as long as hashing them.
    gc.freeze()
    gc.set_threshold(200_000, 10, 10)
    link = socket.socket(fileno=int(sys.argv[1]))
    splitter = Splitter()
    while data := link.recv(RECEIVE_BYTES):
        messages = splitter.feed(data)
        if messages:
            start = decode_start(messages[0])
            writer = Writer(link, start, splitter, None if start.is_durable else Priority())
            writer.take(messages[1:])
            writer.run()
            return


if __name__ == "__main__":
    main()
