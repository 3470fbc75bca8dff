"""Databases, opened by URL with reliable transactions and with passwords removed from messages."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = "postgresql://user@host/database, sqlite:///folder/file.db"

BEGIN = "churn_begin"
"""Execution option of a connection to SQLite: the statement that starts its transactions."""

_POSTGRESQL = re.compile(r"^postgres(ql)?://")
_SECRET = re.compile(r"(?i)\b(password|passwd|pwd|sslpassword|passfile)(\s*=\s*)\S+")


class Database:
    """A database.

    Attributes
    ----------
    engine : sqlalchemy.Engine
        Opens a new connection on each request; there is no pool.
    name : str
        The URL without password and parameters, for messages and summaries.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.name = engine.url.set(query={}).render_as_string(hide_password=True)
        self._password = str(engine.url.password or "")

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, where a reader on another connection would block the writer."""
        return self.engine.dialect.name == "sqlite"

    @property
    def can_copy(self) -> bool:
        """Whether rows can be transferred with PostgreSQL's COPY, which is several times faster than a cursor."""
        return self.engine.dialect.name == "postgresql" and self.engine.dialect.driver == "psycopg"

    @property
    def has_snapshot(self) -> bool:
        """Whether a reader sees a consistent snapshot of the database."""
        return self.can_copy or self.is_sqlite

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Convert errors of the database to a `TableError` without stack trace, statement or password."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            raise TableError(f"{self.name}: {self.clean(str(cause))}") from None
        except Exception as error:
            # The drivers' own errors, raised by what goes around SQLAlchemy, e.g. COPY; recognised by module, since
            # psycopg may not be installed.
            if not type(error).__module__.startswith(("psycopg", "sqlite3")):
                raise
            raise TableError(f"{self.name}: {self.clean(str(error))}") from None

    def clean(self, text: str) -> str:
        """Return a message with the password removed."""
        if self._password:
            text = text.replace(self._password, "***")
        return _SECRET.sub(r"\1\2***", text).strip()


def open_database(url: str, *, must_exist: bool = True, connect_seconds: int | None = None) -> Database:
    """Return a database for a URL, without connecting.

    Parameters
    ----------
    url : str
        SQLAlchemy URL. ``postgresql://`` means psycopg 3.
    must_exist : bool
        Whether a SQLite file must exist; otherwise the first connection creates it.
    connect_seconds : int, optional
        Longest time for a connection to PostgreSQL; by default that of its driver.

    Raises
    ------
    TableError
        If the URL is invalid, the driver is not installed, or the SQLite file does not exist.
    """
    try:
        parsed = sa.make_url(_POSTGRESQL.sub("postgresql+psycopg://", url.strip()))
        if parsed.get_backend_name() == "sqlite" and must_exist and not _has_file(parsed):
            raise TableError(f"{parsed.database or url}: the SQLite file does not exist")
        is_limited = connect_seconds is not None and parsed.get_backend_name() == "postgresql"
        options = {"connect_timeout": connect_seconds} if is_limited else {}
        engine = sa.create_engine(parsed, poolclass=NullPool, connect_args=options)
    except NoSuchModuleError:
        raise TableError(
            f"unknown database {parsed.drivername!r}; allowed: databases that SQLAlchemy supports"
        ) from None
    except (ArgumentError, ValueError):
        # The text is not repeated, because an invalid URL may contain a password.
        raise TableError(f"the database URL is invalid; allowed: an SQLAlchemy URL such as {EXAMPLES}") from None
    except ModuleNotFoundError as error:
        raise TableError(
            f"the driver for {parsed.drivername} is not installed: pip install {error.name}"
            + (" or pip install 'churn[sql]'" if error.name == "psycopg" else "")
        ) from None
    if parsed.get_backend_name() == "sqlite":
        _hold_transactions(engine)
    return Database(engine)


def _has_file(url: sa.URL) -> bool:
    return bool(url.database) and (str(url.database).startswith("file:") or Path(str(url.database)).is_file())


def _hold_transactions(engine: sa.Engine) -> None:
    """Make SQLite start transactions explicitly; Python's driver starts none before DDL."""

    @sa.event.listens_for(engine, "connect")
    def _leave_to_us(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))
