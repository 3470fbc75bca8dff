"""The files of a session: what a worker hands over in mode behind, until it is in the database.

A worker appends frames to a file, and begins another one when it is large. A file is named after its session and the
number of customers in the files before it. The worker locks its session, and its writer inherits the lock: who gets it
knows that both have ended, and loads what they have left.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

from records.locks import try_lock

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".spill"
DAMAGED = ".damaged"
LOCK = ".lock"

SESSION_BYTES = 8
"""Of the name of a session, in hexadecimal digits."""

_SESSION = f"([0-9a-f]{{{2 * SESSION_BYTES}}})"
_NAME = re.compile(rf"{_SESSION}-([0-9]{{1,18}}){re.escape(SUFFIX)}")
_LOCK_NAME = re.compile(rf"{_SESSION}{re.escape(LOCK)}")

FRAME_HEAD = struct.Struct("<II")
"""Length and CRC-32 of the frame that follows."""


def name_session() -> str:
    """Return the name of a new session."""
    return secrets.token_hex(SESSION_BYTES)


class SpillFile(NamedTuple):
    """A file, by its name.

    Attributes
    ----------
    first : int
        Number of customers in the session's files before it.
    path : Path
    """

    first: int
    path: Path


def list_files(folder: Path, session: str) -> list[SpillFile]:
    """Return the files of a session, the oldest first."""
    found = [(_NAME.fullmatch(path.name), path) for path in folder.glob(f"{session}-*{SUFFIX}")]
    return sorted(
        SpillFile(int(name[2]), path) for name, path in found if name and name[1] == session and _is_own(path)
    )


def list_sessions(folder: Path) -> list[str]:
    """Return the sessions of this user that have files or locks in a folder.

    In a folder that others can write to, nobody else can have records loaded, and files of other programs are left
    alone.
    """
    kinds = ((SUFFIX, _NAME), (LOCK, _LOCK_NAME))
    return sorted(
        {
            name[1]
            for suffix, form in kinds
            for path in folder.glob(f"*{suffix}")
            if (name := form.fullmatch(path.name)) and _is_own(path)
        }
    )


def _is_own(path: Path) -> bool:
    """Whether a path is a regular file of this user."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def lock_session(folder: Path, session: str) -> int | None:
    """Lock a session, until the descriptor is closed; None if somebody else has it.

    Raises
    ------
    OSError
        If the lock can't be created.
    """
    return try_lock(folder / f"{session}{LOCK}")


def remove_session(folder: Path, session: str) -> None:
    """Remove the files and the lock of a session that the caller has locked."""
    for file in list_files(folder, session):
        file.path.unlink(missing_ok=True)
    (folder / f"{session}{LOCK}").unlink(missing_ok=True)
