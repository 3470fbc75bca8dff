"""The store: opened by URL, written in transactions, read in snapshots."""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from churn.database import BEGIN, Database, open_database
from churn.errors import TableError
from records import times
from records.chain import START, Chain
from records.decision import Record
from records.insertion import copy_to_postgresql, insert_into_sqlite
from records.journal import append_entry
from records.locks import FileLock
from records.migrate import is_current, migrate
from records.partitions import create_partitions
from records.tables import RECORDS, WRITERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BUSY_SECONDS = 30
"""For how long a connection to SQLite waits for another one that writes."""

CONNECT_SECONDS = 5
"""Longest time for a connection to PostgreSQL."""

LOG_PAGES = 16_384
"""Pages in SQLite's log after which a commit moves them to the file; `records.checkpoints` does it before, aside."""


class RecordStore:
    """The tables of records in a database. It is for one thread.

    Parameters
    ----------
    database : Database

    Attributes
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._months: set[int] = set()
        self._file: tuple[int, int] | None = None
        self._log_file: tuple[int, int] | None = None  # of SQLite, while a connection of `connect` is open
        path = database.engine.url.database
        self._lock = FileLock(Path(f"{path}-lock")) if database.is_sqlite and path else None

    def pin(self) -> None:
        """Take SQLite's file for the store from now on.

        If another file is put in its place, or none, whoever has it open would go on to write to what nobody finds
        again.
        """
        path = self.database.engine.url.database
        if self.database.is_sqlite and path:
            self._file = _identify(path)

    def _check_file(self) -> None:
        if self._file is not None and _identify(str(self.database.engine.url.database)) != self._file:
            raise TableError(
                f"{self.database.name}: the file was removed, or replaced by another one, while it was in use; "
                "start the service again when it is the right one"
            )

    def _check_files(self) -> None:
        """Check SQLite's file and its log, which stays where it is as long as a connection is open."""
        self._check_file()
        if self._file is None:
            return
        found = _identify(f"{self.database.engine.url.database}-wal")
        if self._log_file not in (None, found):
            raise TableError(f"{self.database.name}: the log beside the file, -wal, was removed while it was in use")
        self._log_file = found

    def connect(self) -> sa.Connection:
        """Return a connection for `writing`, which the caller closes.

        Raises
        ------
        TableError
            If SQLite's file is another one than at first.
        """
        self._check_file()
        self._log_file = None
        return self.database.engine.connect().execution_options(**{BEGIN: "BEGIN IMMEDIATE"})

    @contextmanager
    def writing(self, connection: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """Yield a connection with a transaction that writes, which is committed at the end of the block.

        Parameters
        ----------
        connection : sqlalchemy.Connection, optional
            One of `connect`; by default a new one.

        Raises
        ------
        TableError
            If the database fails.
        """
        with self.database.explaining(), ExitStack() as stack:
            if connection is None:
                connection = stack.enter_context(closing(self.connect()))
            stack.enter_context(self.locked())
            self._check_files()
            stack.enter_context(connection.begin())
            yield connection

    def locked(self) -> AbstractContextManager[None]:
        """Return the lock of the writers of SQLite; PostgreSQL needs none."""
        return nullcontext() if self._lock is None else self._lock

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection that sees the same state of the store to the end of the block.

        Raises
        ------
        TableError
            If the database fails.
        """
        self._check_file()
        with self.database.explaining(), self.database.engine.connect() as connection:
            if not self.database.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    def register(self, connection: sa.Connection, name: str | None = None) -> Chain:
        """Create a writer, note it in the journal, and return its empty chain.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Of `writing`.
        name : str, optional
            By default the host and the process. Nobody else has had it.

        Raises
        ------
        TableError
            If somebody has.
        """
        if not self.database.is_sqlite:  # where a transaction that writes is alone anyway
            connection.exec_driver_sql("LOCK TABLE churn_writers IN SHARE ROW EXCLUSIVE MODE")
        if name is not None and connection.execute(sa.select(1).where(WRITERS.c.name == name)).first() is not None:
            raise TableError(f"{self.database.name}: a writer named {name!r} already exists")
        newest = connection.execute(sa.select(sa.func.max(WRITERS.c.writer))).scalar()
        writer = int(newest or 0) + 1
        row = {
            "writer": writer,
            "name": name or f"{socket.gethostname()}:{os.getpid()}",
            "started": times.now(),
            "sequence": 0,
            "hash": START,
            "pruned": 0,
            "pruned_hash": START,
            "seals": 0,
        }
        connection.execute(sa.insert(WRITERS).values(row))
        append_entry(connection, "writer", {name: row[name] for name in ("writer", "name", "started")})
        return Chain(writer)

    def insert(self, connection: sa.Connection, records: Sequence[Record], chain: Chain) -> None:
        """Insert linked records, and note the new end of their chain.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Of `writing`.
        records : sequence of Record
            The next ones of one chain; see `Chain.link`.
        chain : Chain
            Its end after them.
        """
        if not records:
            return
        driver: Any = connection.connection.driver_connection
        if self.database.is_sqlite:
            insert_into_sqlite(driver, records, chain)
        else:
            copy_to_postgresql(driver, records, chain)

    def commit(self, connection: sa.Connection, records: Sequence[Record], chain: Chain) -> None:
        """Insert linked records in a transaction of their own; quicker than `writing` and `insert`.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Of `connect`, without a transaction. After an error it is to be closed.
        records : sequence of Record
            At least one.
        chain : Chain
            Its end after them.

        Raises
        ------
        TableError
            If the database fails.
        """
        # SQLAlchemy's own transactions take as long as inserting ten records.
        with self.database.explaining(), self.locked():
            self._check_files()
            driver: Any = connection.connection.driver_connection
            if self.database.is_sqlite:
                driver.execute("BEGIN IMMEDIATE")
                insert_into_sqlite(driver, records, chain)
                driver.execute("COMMIT")
            else:
                copy_to_postgresql(driver, records, chain, is_whole=True)

    def prepare_months(self, moments: Iterable[int]) -> None:
        """Create the partitions for records of some times, where they are missing; to be called before `writing`.

        None is created in between, since a clock may have jumped by years.
        """
        if self.database.is_sqlite:
            return
        wanted = {times.find_month(hour * times.HOUR)[0] for hour in {moment // times.HOUR for moment in moments}}
        if missing := wanted - self._months:
            with self.writing() as connection:
                create_partitions(connection, sorted(missing))
            self._months |= missing


def open_records(url: str, *, must_exist: bool = True) -> Database:
    """Return the database of a store, without connecting.

    Raises
    ------
    TableError
        If the URL is invalid, or names a database that records can't be kept in.
    """
    database = open_database(url, must_exist=must_exist, connect_seconds=CONNECT_SECONDS)
    if not (database.is_sqlite or database.can_copy):
        raise TableError(f"records can't be kept in {database.engine.dialect.name}; allowed: SQLite and PostgreSQL")
    if database.is_sqlite:
        if database.engine.url.database in (None, "", ":memory:"):
            raise TableError("records need an SQLite file that all processes can open, e.g. sqlite:////data/records.db")
        _set_up_sqlite(database.engine)
    return database


def open_store(url: str, *, create: bool = False) -> RecordStore:
    """Return the store at a URL.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of SQLite or PostgreSQL, e.g. ``sqlite:////data/records.db`` or
        ``postgresql://user@host/database``.
    create : bool
        Create or migrate the tables, and the file of SQLite; otherwise they must be there.

    Raises
    ------
    TableError
        If the URL is invalid, the database can't be reached, or it has no store of this program's form.
    """
    database = open_records(url, must_exist=not create)
    store = RecordStore(database)
    if create:
        if database.is_sqlite:
            path = Path(str(database.engine.url.database))
            path.parent.mkdir(parents=True, exist_ok=True)
            # What customers sent is for the owner alone; SQLite gives its log the mode of the file.
            with suppress(OSError):  # it is there; if it can't be made, SQLite says why
                path.touch(0o600, exist_ok=False)
        with store.writing() as connection:
            migrate(connection)
        store.pin()
        return store
    with store.reading() as connection:
        if not is_current(connection):
            raise TableError(
                f"{database.name}: there is no store of records in the form of this program; "
                "a service with CHURN_RECORDS creates and migrates it"
            )
    store.pin()
    return store


def _identify(path: str) -> tuple[int, int] | None:
    """Return device and number of a file; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116  as fast as can be, since it is called for each commit
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_up_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        # Readers don't wait for the writer, and a commit is one write to the end of a file, flushed to the disk.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")


def to_record(row: sa.Row[Any]) -> Record:
    """Return a row of the table as a record."""
    return Record._make(row)


def select_records() -> sa.Select[Any]:
    """Return the query for all records with all their columns, to be narrowed down."""
    return sa.select(*(RECORDS.c[name] for name in Record._fields))
