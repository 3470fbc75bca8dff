"""Whether the store of records can be used, and where records go when it can't be written to."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from churn.errors import ChurnError
from records.check import UNUSABLE

if TYPE_CHECKING:
    from service.settings import Settings

_SQLITE = "sqlite:///"

_log = logging.getLogger(__name__)


class RecordsError(ChurnError):
    """The store of records can't be used."""


def choose_spill(settings: Settings) -> str:
    """Return the folder for files of records: beside SQLite's file, else one of the database for temporary files.

    A service loads what others have left in its folder, so one of another database must have another folder.
    """
    if settings.records_spill is not None:
        return str(settings.records_spill)
    url = settings.records or ""
    if url.startswith(_SQLITE):
        return f"{url.removeprefix(_SQLITE).partition('?')[0]}-spill"
    scheme, rest = url.partition("://")[::2]
    access, at, place = rest.rpartition("@")
    # The password may change.
    name = sha256(f"{scheme}://{access.partition(':')[0]}{at}{place}".encode()).hexdigest()[:12]
    return str(Path(tempfile.gettempdir()) / f"churn-records-{name}")


def run_records(module: str) -> list[str]:
    """Return the command that runs a module of the store in a process of its own, with `make_environment`."""
    return [sys.executable, "-m", f"records.{module}"]


def make_environment() -> dict[str, str]:
    """Return the environment of such a process, which finds the same packages as this one."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def check_records(settings: Settings) -> None:
    """Create the store, or migrate it.

    Raises
    ------
    RecordsError
        If it can't be used now and answers may not leave without records, or if it can never be used.
    """
    if settings.records is None:
        return
    done = subprocess.run(  # noqa: S603  our own code
        run_records("check"),
        input=settings.records,
        capture_output=True,
        text=True,
        env=make_environment(),
        check=False,
    )
    if not done.returncode:
        _log.info("records: %s", settings.records_mode)
        return
    problem = f"CHURN_RECORDS: {done.stdout or done.stderr.strip().splitlines()[-1]}"
    if done.returncode == UNUSABLE or settings.records_mode == "durable":
        raise RecordsError(problem)
    _log.error("%s; records are kept in files in %s until it can be written to", problem, choose_spill(settings))
