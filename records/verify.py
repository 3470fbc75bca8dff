"""Verify a store: that no record, seal or entry of the journal was changed, removed or reordered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from records import times
from records.chain import START, hash_personal, hash_record
from records.decision import Record
from records.journal import JOURNAL_WRITER, Entry, hash_entry, list_entries
from records.row_types import RowTypes
from records.seals import Seal, find_hour, hash_seal, select_seals
from records.store import select_records, to_record
from records.tables import JOURNAL, RECORDS, SEALS, WRITERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from records.store import RecordStore

BATCH_ROWS = 5_000
"""Records that are read at once."""


class Fault(NamedTuple):
    """What does not match.

    Attributes
    ----------
    place : str
        What it is in, e.g. ``"writer 1, record 42"``.
    what : str
        A clause such as ``"is missing"``.
    """

    place: str
    what: str

    def __str__(self) -> str:
        """Return it as a sentence."""
        return f"{self.place}: {self.what}"


@dataclass
class Verification:
    """What a verification found.

    Attributes
    ----------
    records, erased, seals, writers : int
        Numbers of what was read; erased records are counted in both.
    faults : list of Fault
        The first ones of each chain.
    """

    records: int = 0
    erased: int = 0
    seals: int = 0
    writers: int = 0
    faults: list[Fault] = field(default_factory=list)


class _Journal(NamedTuple):
    """What the journal says about the other tables."""

    writers: Mapping[int, tuple[str, int]]
    erased: Mapping[int, Collection[int]]
    pruned: Mapping[int, tuple[int, str]]


def verify(store: RecordStore, kept: Iterable[Seal] = ()) -> Verification:
    """Read a whole store and compare every hash.

    Parameters
    ----------
    store : RecordStore
    kept : iterable of Seal
        Seals that were kept elsewhere, which the store must have. Without them, somebody who can write to all tables
        can compute all hashes anew.

    Raises
    ------
    TableError
        If the database fails.
    """
    result = Verification()
    with store.reading() as connection:
        if store.database.is_sqlite:
            driver: Any = connection.connection.driver_connection
            driver.text_factory = _read_text
        rows = _list_writers(connection, result)
        journal = _read_journal(list_entries(connection), rows, result)
        _check_writers(rows, journal, result)
        for row in rows:
            if row.writer != JOURNAL_WRITER:
                seals = _check_seals(connection, row, result)
                _check_records(connection, row, seals, journal, result)
        _find_strangers(connection, [row.writer for row in rows if row.writer != JOURNAL_WRITER], result)
        for seal in kept:
            query = select_seals().where(SEALS.c.writer == seal.writer, SEALS.c.number == seal.number)
            found = connection.execute(query).one_or_none()
            if found is None or Seal._make(found) != seal:
                state = "is missing" if found is None else "is another one"
                result.faults.append(Fault(_name_seal(seal), f"{state} than was kept elsewhere"))
    return result


def _read_text(data: bytes) -> str:
    """Return a text of SQLite, which may hold bytes that are none; they are then not what was hashed."""
    return data.decode(errors="replace")


def _list_writers(connection: sa.Connection, result: Verification) -> list[sa.Row[Any]]:
    types = RowTypes(WRITERS, WRITERS.c.keys())
    rows = []
    for row in connection.execute(sa.select(WRITERS).order_by(WRITERS.c.writer)):
        if fault := types.find_fault(row):
            result.faults.append(Fault(f"writer {row.writer}", fault))
        else:
            rows.append(row)
    return rows


def _read_journal(entries: list[Entry], rows: Iterable[sa.Row[Any]], result: Verification) -> _Journal:
    end = next((row for row in rows if row.writer == JOURNAL_WRITER), None)
    before, expected = START, 1
    journal = _Journal({}, {}, {})
    types = RowTypes(JOURNAL, Entry._fields)
    for entry in entries:
        place = f"journal, entry {entry.number}"
        if fault := types.find_fault(entry):
            result.faults.append(Fault(place, fault))
            continue
        if entry.number != expected:
            result.faults.append(Fault(f"journal, entry {expected}", "is missing"))
        elif entry.hash != hash_entry(before, entry):
            result.faults.append(Fault(place, "was changed, or entries were reordered"))
        before, expected = entry.hash, entry.number + 1
        _understand(entry, journal, place, result)
    if end is None or (end.sequence, end.hash) != (expected - 1, before):
        result.faults.append(Fault("journal", "its end is not where it was: entries were removed or added"))
    if end is not None and tuple(end[1:3] + end[5:]) != ("journal", 0, 0, START, 0):
        result.faults.append(Fault("journal", "its row among the writers was changed"))
    return journal


def _understand(entry: Entry, journal: Any, place: str, result: Verification) -> None:  # noqa: ANN401  a _Journal, filled
    try:
        detail = json.loads(entry.detail)
        if entry.kind == "writer":
            journal.writers[_whole(detail["writer"])] = detail["name"], detail["started"]
        elif entry.kind == "erase":
            for writer, sequences in detail["records"].items():
                journal.erased.setdefault(int(writer), set()).update(map(_whole, sequences))
        elif entry.kind == "prune":
            for writer, (sequence, digest) in detail["writers"].items():
                journal.pruned[int(writer)] = _whole(sequence), digest
    except (ValueError, KeyError, TypeError, AttributeError):
        result.faults.append(Fault(place, "has no detail that can be read"))


def _whole(number: object) -> int:
    if type(number) is not int:
        raise TypeError
    return number


def _check_writers(rows: Iterable[sa.Row[Any]], journal: _Journal, result: Verification) -> None:
    known = {row.writer: (row.name, row.started) for row in rows if row.writer != JOURNAL_WRITER}
    result.writers = len(known)
    expected = 1
    for writer in sorted({*known, *journal.writers}):
        if writer > expected:
            more = "" if writer == expected + 1 else f", as are those to {writer - 1}"
            result.faults.append(Fault(f"writer {expected}", f"is missing{more}"))
        expected = writer + 1
        if writer not in known:
            result.faults.append(Fault(f"writer {writer}", "is missing"))
        elif journal.writers.get(writer) != known[writer]:
            result.faults.append(Fault(f"writer {writer}", "is not as the journal has it"))


def _check_seals(connection: sa.Connection, row: sa.Row[Any], result: Verification) -> dict[int, Seal]:
    """Return the seals of a writer by their last sequence."""
    before, expected, first = START, 1, 1
    found: dict[int, Seal] = {}
    types = RowTypes(SEALS, Seal._fields)
    for one in connection.execute(select_seals().where(SEALS.c.writer == row.writer).order_by(SEALS.c.number)):
        seal = Seal._make(one)
        result.seals += 1
        if fault := types.find_fault(seal):
            result.faults.append(Fault(_name_seal(seal), fault))
            continue
        if seal.number != expected:
            result.faults.append(Fault(_name_seal(seal._replace(number=expected)), "is missing"))
        elif seal.hash != hash_seal(before, seal):
            result.faults.append(Fault(_name_seal(seal), "was changed, or seals were reordered"))
        elif seal.first != first or seal.last < seal.first:
            result.faults.append(Fault(_name_seal(seal), "does not follow the seal before it"))
        before, expected, first = seal.hash, seal.number + 1, seal.last + 1
        found[seal.last] = seal
    if row.seals != expected - 1:
        result.faults.append(Fault(f"writer {row.writer}", f"has {expected - 1} seals, but {row.seals} were made"))
    return found


def _check_records(
    connection: sa.Connection, row: sa.Row[Any], seals: Mapping[int, Seal], journal: _Journal, result: Verification
) -> None:
    writer: int = row.writer
    chain = _ChainCheck(writer, row.pruned, bytes(row.pruned_hash), seals, journal.erased.get(writer, ()), result)
    allowed = journal.pruned.get(writer, (0, START.hex()))
    if row.pruned > allowed[0] or (row.pruned == allowed[0] and chain.before.hex() != allowed[1]):
        result.faults.append(Fault(f"writer {writer}", "records were removed that the journal does not have as pruned"))
    chain.check_seal(row.pruned, chain.before)
    for record in _read_chain(connection, writer):
        chain.check(record)
    chain.check_end(row.sequence, bytes(row.hash))


class _ChainCheck:
    """Compares the records of a writer, one after the other."""

    def __init__(
        self,
        writer: int,
        pruned: int,
        before: bytes,
        seals: Mapping[int, Seal],
        erased: Collection[int],
        result: Verification,
    ) -> None:
        self.before = before
        self._writer, self._seals, self._erased, self._result = writer, seals, erased, result
        self._expected = pruned + 1
        self._ends = iter(sorted(last for last in seals if last > pruned))
        self._end = next(self._ends, None)
        self._types = RowTypes(RECORDS, Record._fields)

    def _add(self, sequence: int, what: str, record: Record | None = None) -> None:
        shown = "" if record is None else f" ({times.show(record.time)}, request {record.request_id})"
        self._result.faults.append(Fault(f"writer {self._writer}, record {sequence}{shown}", what))

    def check(self, record: Record) -> None:
        """Compare one record."""
        self._result.records += 1
        if fault := self._types.find_fault(record):
            self._add(record.sequence, fault)
            if record.sequence == self._expected:  # it is there, so the next one follows
                self.before, self._expected = (
                    bytes(record.hash if type(record.hash) is bytes else 0),
                    record.sequence + 1,
                )
            return
        if record.sequence != self._expected:
            if record.sequence < self._expected:  # the same sequence twice, at another time
                self._add(record.sequence, "is there twice", record)
                return
            last = "" if record.sequence == self._expected + 1 else f" to {record.sequence - 1}"
            self._add(self._expected, f"is missing{last and ', as are those'}{last}")
            # The hash before it is not known; what follows is compared from here on.
        elif record.hash != hash_record(self.before, record):
            self._add(record.sequence, "was changed, or records were reordered", record)
        self._check_personal(record)
        self._check_hour(record)
        self.before, self._expected = record.hash, record.sequence + 1

    def _check_personal(self, record: Record) -> None:
        if record.salt is not None:
            if record.personal_hash != hash_personal(record.salt, record.customer_id, record.input, record.reasons):
                self._add(record.sequence, "its input, customer or reasons were changed", record)
            return
        self._result.erased += 1
        if (record.customer_id, record.input, record.reasons) != (None, None, None):
            self._add(record.sequence, "was erased, but has data", record)
        if record.sequence not in self._erased:
            self._add(record.sequence, "lost its data, but the journal has no erasure of it", record)

    def _check_hour(self, record: Record) -> None:
        while self._end is not None and self._end < record.sequence:
            self._end = next(self._ends, None)
        if self._end is not None and find_hour(record.time) != self._seals[self._end].hour:
            self._add(record.sequence, "has another hour than its seal", record)
        self.check_seal(record.sequence, record.hash)

    def check_seal(self, sequence: int, digest: bytes) -> None:
        """Compare the hash of a record with the seal that ends with it, if there is one."""
        seal = self._seals.get(sequence)
        if seal is not None and seal.head != digest:
            self._result.faults.append(Fault(_name_seal(seal), "has another hash than its last record"))

    def check_end(self, sequence: int, digest: bytes) -> None:
        """Compare the end with what the writer has noted."""
        if sequence >= self._expected:
            last = "" if sequence == self._expected else f", as are those to {sequence}"
            self._add(self._expected, f"is missing{last}, at the end")
        elif (sequence, digest) != (self._expected - 1, self.before):
            self._add(self._expected - 1, "is not the last one that was written")


def _read_chain(connection: sa.Connection, writer: int) -> Iterator[Record]:
    query = select_records().where(RECORDS.c.writer == writer).order_by(RECORDS.c.sequence, RECORDS.c.time)
    rows = connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS).execute(query)
    for part in rows.partitions(BATCH_ROWS):
        yield from map(to_record, part)


def _find_strangers(connection: sa.Connection, writers: list[int], result: Verification) -> None:
    for table, name in ((RECORDS, "records"), (SEALS, "seals")):
        query = sa.select(table.c.writer).where(table.c.writer.not_in(writers)).distinct()
        for writer in connection.execute(query).scalars():
            result.faults.append(Fault(f"writer {writer}", f"has {name}, but is not among the writers"))


def _name_seal(seal: Seal) -> str:
    return f"writer {seal.writer}, seal {seal.number}"
