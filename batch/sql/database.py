"""A database by its URL: opened so that transactions hold, and spoken of without its password."""

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

_POSTGRESQL = re.compile(r"^postgres(ql)?://")
_SECRET = re.compile(r"(?i)\b(password|passwd|pwd|sslpassword|passfile)(\s*=\s*)\S+")


class Database:
    """A database that can be read from and written to.

    Attributes
    ----------
    engine : sqlalchemy.Engine
        Makes a connection each time it is asked; none is kept.
    name : str
        The URL without password and parameters: all that is ever printed or written.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.name = engine.url.set(query={}).render_as_string(hide_password=True)
        self._password = str(engine.url.password or "")

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite, where a reader on another connection would block the writer."""
        return self.engine.dialect.name == "sqlite"

    @property
    def can_copy(self) -> bool:
        """Whether rows can be streamed by PostgreSQL's COPY, several times as fast as by a cursor."""
        return self.engine.dialect.name == "postgresql" and self.engine.dialect.driver == "psycopg"

    @property
    def has_snapshot(self) -> bool:
        """Whether a job's reader sees one state of the database throughout."""
        return self.can_copy or self.is_sqlite

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise what the database refuses as a `TableError` without a trace, a statement or a password."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            raise TableError(f"{self.name}: {self.clean(str(cause))}") from None
        except Exception as error:
            # psycopg's own, from COPY; named by its module, since it need not be installed.
            if not type(error).__module__.startswith("psycopg"):
                raise
            raise TableError(f"{self.name}: {self.clean(str(error))}") from None

    def clean(self, text: str) -> str:
        """Return a message without the password, if a driver put it there."""
        if self._password:
            text = text.replace(self._password, "***")
        return _SECRET.sub(r"\1\2***", text).strip()


def open_database(url: str) -> Database:
    """Make a database known by its URL; nothing is connected yet, but for the check that a SQLite file exists.

    Parameters
    ----------
    url : str
        Any URL of SQLAlchemy. ``postgresql://`` means psycopg 3.

    Raises
    ------
    TableError
        If it is no such URL, its driver is not installed or the SQLite file is absent.
    """
    try:
        parsed = sa.make_url(_POSTGRESQL.sub("postgresql+psycopg://", url.strip()))
        if parsed.get_backend_name() == "sqlite" and not _has_file(parsed):
            raise TableError(f"{parsed.database or url}: there is no such SQLite file")
        engine = sa.create_engine(parsed, poolclass=NullPool)
    except NoSuchModuleError:
        raise TableError(f"the database {parsed.drivername!r} is unknown; allowed: one of SQLAlchemy's") from None
    except (ArgumentError, ValueError):
        # The text is not repeated: a URL that can't be read may hold a password.
        raise TableError(f"the database's URL can't be understood; allowed: one of SQLAlchemy, as {EXAMPLES}") from None
    except ModuleNotFoundError as error:
        raise TableError(
            f"the driver of {parsed.drivername} is not installed: pip install {error.name}"
            + (" or pip install 'churn[sql]'" if error.name == "psycopg" else "")
        ) from None
    if parsed.get_backend_name() == "sqlite":
        _hold_transactions(engine)
    return Database(engine)


def _has_file(url: sa.URL) -> bool:
    return bool(url.database) and (str(url.database).startswith("file:") or Path(str(url.database)).is_file())


def _hold_transactions(engine: sa.Engine) -> None:
    """Let SQLite begin a transaction when it is told to; by itself Python's driver begins none before DDL."""

    @sa.event.listens_for(engine, "connect")
    def _leave_to_us(connection: Any, _record: object) -> None:  # noqa: ANN401  a connection of the driver
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")
