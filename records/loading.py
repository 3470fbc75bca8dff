"""Load the files of a session into the database, each customer once."""

from __future__ import annotations

import socket
import sys
import traceback
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from churn.errors import TableError
from records.expand import expand
from records.ledger import Ledger, touch_writer
from records.messages import split_frame
from records.spill_reader import SpillReader
from records.tables import WRITERS

if TYPE_CHECKING:
    from pathlib import Path

    from records.decision import Decision
    from records.messages import Frame
    from records.store import RecordStore

LOAD_CUSTOMERS = 10_000
"""Customers that are loaded in one transaction, unless one frame has more."""


class FilesError(Exception):
    """Files can't be read or removed now; nothing of them is lost by it."""


class _GapError(Exception):
    """Customers are not in the files, and may be in the database."""


class _Read(NamedTuple):
    """A frame that was read, and the numbers of customers up to its beginning and its end."""

    begin: int
    end: int
    frame: Frame


class SessionLoader:
    """Loads the files of a session as a chain of records.

    The chain is named after the session, and its sequence says how much was loaded, so that a kill in between repeats
    nothing. Where customers can't be read, another chain begins, whose name says how many of the session are before it.

    Parameters
    ----------
    store : RecordStore
    folder : Path
    session : str
    is_over : bool
        Whether nothing more is appended to the files.
    position : int
        Number of customers of the session that were dealt with before.
    limit : int, optional
        Customers that are loaded in one transaction, by default `LOAD_CUSTOMERS`.

    Attributes
    ----------
    position : int
        Number of customers of the session that were dealt with.
    """

    def __init__(
        self,
        store: RecordStore,
        folder: Path,
        session: str,
        *,
        is_over: bool = False,
        position: int = 0,
        limit: int | None = None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._session = session
        self._is_over = is_over
        self._limit = limit
        self._reader: SpillReader | None = None
        self._held: deque[_Read] = deque()
        """Was read, and is yet to be dealt with."""
        self._first: _Read | None = None
        """The first of what is being loaded."""
        self._reached = 0
        """Number of customers up to the end of what was read."""
        self._ledger: Ledger | None = None
        self._is_known = False  # what the database has
        self._care = 0
        """After a fault: 1 to load one frame at a time, 2 to load one entry at a time."""
        self._care_end = 0  # number of customers after which that is not necessary any more
        self._checked = position  # a gap before it was looked for in the database
        self.position = position
        self._lost = self._loaded = 0

    def end_session(self) -> None:
        """Note that nothing more is appended."""
        self._is_over = True
        if self._reader is not None:
            self._reader.is_over = True

    def take_lost(self) -> int:
        """Return the number of customers that could not be read since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def take_loaded(self) -> int:
        """Return the number of customers that were loaded since the last call."""
        loaded, self._loaded = self._loaded, 0
        return loaded

    def load(self) -> bool:
        """Load some frames; return whether there were any.

        Raises
        ------
        TableError
            If the database fails. The next call begins anew, and leaves out what was loaded.
        FilesError
            If files can't be read, e.g. for a fault of the disk. Likewise.
        """
        self._first = None
        try:
            self._open()
            decisions, end = self._collect()
            if decisions:
                self._append(decisions)
        except TableError:
            self.drop()
            raise
        except _GapError:
            self.drop()
            return True
        except OSError as error:  # nothing is wrong with the records
            self.drop()
            raise FilesError(f"{self._folder}: {error}") from None
        except Exception as error:  # noqa: BLE001  whatever it is, the records of others must not be lost by it
            traceback.print_exc()
            self.drop()
            if not self._take_care():
                raise FilesError(f"{self._folder}: {error!r}") from None
            return True
        self._loaded += len(decisions)
        self.position = end
        if end >= self._care_end:
            self._care = 0
        return bool(decisions)

    def _take_care(self) -> bool:
        """Load less at a time after a fault, or give up the one entry that it comes from; return whether it was one."""
        if self._first is None:
            return False
        if self._care < 2:
            self._care, self._care_end = self._care + 1, self._reached
        else:
            self._give_up(self._first.end)
        return True

    def _open(self) -> None:
        """Find out what of the session is in the database."""
        if not self._is_known:
            with self._store.writing() as connection:
                name = WRITERS.c.name.contains(f" {self._session}@", autoescape=True)
                query = sa.select(WRITERS.c.writer, WRITERS.c.name).where(name).order_by(WRITERS.c.writer.desc())
                found = connection.execute(query.limit(1)).one_or_none()
                if found is not None:
                    touch_writer(connection, found.writer)
                    sequence = sa.select(WRITERS.c.sequence).where(WRITERS.c.writer == found.writer)
                    end = int(found.name.rpartition("@")[2]) + connection.execute(sequence).scalar_one()
                    if end >= self.position:
                        self.position, self._ledger = end, Ledger(self._store, writer=found.writer)
            self._is_known = True
        if self._reader is None:
            self._reader = SpillReader(self._folder, self._session, is_over=self._is_over)

    def _collect(self) -> tuple[list[Decision], int]:
        """Return the decisions of the next frames, and the number of customers up to their end."""
        decisions: list[Decision] = []
        end = self.position
        limit = 1 if self._care else self._limit or LOAD_CUSTOMERS
        while len(decisions) < limit and (found := self._read()) is not None:
            self._reached = found.end
            if found.end <= end:  # the database has it
                continue
            if len(found.frame.entries) > 1 and (found.begin < end or self._care == 2):
                self._split(found)
                continue
            if found.begin > end:  # what is between was damaged
                if decisions:
                    self._held.appendleft(found)
                    break
                self._pass(found.begin)
                end = found.begin
            self._first = self._first or found
            decisions += expand(found.frame)[end - found.begin :]
            end = found.end
        if not decisions and self._reader is not None and self._reader.position > end and not self._held:
            end = self._reader.position  # the worker has begun another file behind what can't be read
            self._pass(end)
        return decisions, end

    def _pass(self, end: int) -> None:
        """Give up what is not in the files, unless somebody else has loaded it since the database was looked at."""
        if end > self._checked:
            self._checked = end
            raise _GapError
        self._give_up(end)

    def _read(self) -> _Read | None:
        if self._held:
            return self._held.popleft()
        assert self._reader is not None  # noqa: S101  it was opened
        found = self._reader.read()
        return None if found is None else _Read(found[0], found[0] + found[1].count, found[1])

    def _split(self, found: _Read) -> None:
        """Deal with the entries of a frame one by one: the database may have some of them."""
        begin, parts = found.begin, []
        for frame in split_frame(found.frame):
            parts.append(_Read(begin, begin + frame.count, frame))
            begin += frame.count
        self._held.extendleft(reversed(parts))

    def _give_up(self, end: int) -> None:
        """Go on behind what can't be read."""
        print(f"{end - self.position} records of session {self._session} can't be read", file=sys.stderr)  # noqa: T201
        self._lost += end - self.position
        self.position = end
        if self._ledger is not None:
            self._ledger.close()
        self._ledger = None

    def _append(self, decisions: list[Decision]) -> None:
        if self._ledger is None:
            self._ledger = Ledger(self._store, f"{socket.gethostname()} {self._session}@{self.position}")
        self._ledger.append(decisions)

    def drop(self) -> None:
        """Close what is open, and forget what was read and what the database has."""
        for one in (self._ledger, self._reader):
            if one is not None:
                one.drop()
        self._ledger = self._reader = None
        self._held.clear()
        self._is_known = False

    def seal(self) -> None:
        """Seal the records of an hour that is over.

        Raises
        ------
        TableError
            If the database fails.
        """
        if self._ledger is not None:
            self._ledger.seal()

    def close(self) -> None:
        """Seal what was loaded.

        Raises
        ------
        TableError
            If the database fails.
        """
        if self._ledger is not None:
            self._ledger.close()
        self.drop()
