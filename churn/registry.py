"""The folder of model versions, with the current version and the history of promotions.

``current`` names the version to be served. ``promotions.jsonl`` records every change of it, oldest first, for rollbacks
and for audits. ``last_version`` is the highest version ever published, so that no number is given twice, even after a
folder was deleted.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn.errors import RegistryError
from churn.runtime.files import find_left_aside, open_regular, replace_text, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CURRENT = "current"
PROMOTIONS = "promotions.jsonl"
LAST_VERSION = "last_version"
_STAGING = ".staging-"

MAX_DIGITS = 18
"""Digits of a version number."""

MAX_NUMBER_BYTES = 64
"""Bytes that are read of a file with a version number."""

_log = logging.getLogger(__name__)


class Registry:
    """Model versions in one folder.

    Parameters
    ----------
    root : Path
        Contains ``1/``, ``2/``, …, ``current`` and ``promotions.jsonl``. Created by the first publication.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> list[int]:
        """Return all versions in ascending order."""
        if not self.root.is_dir():
            return []
        names = (path.name for path in self.root.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name)

    def folder(self, version: int) -> Path:
        """Return the folder of a version.

        Raises
        ------
        RegistryError
            If the version does not exist; the message lists the existing ones.
        """
        if version not in self.versions():
            there = ", ".join(map(str, self.versions())) or "none"
            raise RegistryError(f"{self.root}: version {version} does not exist; available: {there}")
        return self.root / str(version)

    def current(self) -> int:
        """Return the current version.

        Raises
        ------
        RegistryError
            If there is none, or the file ``current`` is invalid.
        """
        try:
            return _read_number(self.root / CURRENT)
        except FileNotFoundError:
            raise RegistryError(
                f"{self.root}: no version is current (there is no file {CURRENT}); train one, or promote one of: "
                f"{', '.join(map(str, self.versions())) or 'none'}"
            ) from None

    def find_current(self) -> int | None:
        """Return the current version; None if there is none, or the file ``current`` is invalid."""
        try:
            return self.current()
        except RegistryError:
            return None

    def current_folder(self) -> Path:
        """Return the folder of the current version; raises RegistryError if there is none."""
        return self.folder(self.current())

    def require_writable(self) -> None:
        """Check that a version could be published here, before the work that makes one. Writes nothing.

        Raises
        ------
        RegistryError
            If the folder, or the one it would be made in, is no folder that this user can write.
        """
        folder = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise RegistryError(
                f"{self.root}: no version can be published there: user {os.getuid()} can't write to {folder}; "
                "give that user the right to, or name another folder (--models)"
            )

    def publish(self, write: Callable[[Path, int], None], *, promote: bool = True) -> int:
        """Publish a new version, completely or not at all.

        Parameters
        ----------
        write : callable (folder, version)
            Writes the files into the folder, which is not visible yet.
        promote : bool
            Whether to make the new version current.

        Returns
        -------
        int
            The new version.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked():
            version = self._find_last_version() + 1
            staging = self.root / f"{_STAGING}{version}"
            staging.mkdir()
            try:
                write(staging, version)
                replace_text(self.root / LAST_VERSION, f"{version}\n")  # a crash in between leaves a number unused
                staging.rename(self.root / str(version))
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            sync(self.root)
            if promote:
                self._set_current(version, "promote")
        return version

    def promote(self, version: int) -> None:
        """Make a version current.

        Raises
        ------
        RegistryError
            If the version does not exist, or the files of the folder can't be written.
        """
        with self._locked():
            self.folder(version)
            self._set_current(version, "promote")

    def previous(self) -> int:
        """Return the version to which `rollback` would go back.

        Raises
        ------
        RegistryError
            If there is none.
        """
        served = self._served()
        if len(served) < 2:
            raise RegistryError(f"{self.root}: no version was current before this one")
        return served[-2]

    def rollback(self, check: Callable[[Path], object] | None = None) -> int:
        """Make the previously current version current again, and return it.

        A second rollback goes back one more version.

        Parameters
        ----------
        check : callable, optional
            Called with the folder of that version before it is current; what it raises leaves everything as it is.

        Raises
        ------
        RegistryError
            If there is no previous version, it does not exist any more, or the files of the folder can't be written.
        """
        with self._locked():
            version = self.previous()
            folder = self.folder(version)
            if check is not None:
                check(folder)
            self._set_current(version, "rollback")
        return version

    def history(self) -> list[dict[str, Any]]:
        """Return all changes of the current version, oldest first, with version, action and time.

        A last line without its end, left by an interrupted copy, is ignored; the next change removes it.

        Raises
        ------
        RegistryError
            If a line of the file is invalid.
        """
        path = self.root / PROMOTIONS
        changes = []
        for number, line in enumerate(self._read_promotions().splitlines(), start=1):
            try:
                change = json.loads(line)
                changes.append({**change, "version": int(change["version"]), "action": str(change["action"])})
            except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
                raise RegistryError(f"{path}: line {number} is invalid: {error!r}") from error
        return changes

    def _read_promotions(self) -> bytes:
        """Return the complete lines of the file, which end with a line feed."""
        path = self.root / PROMOTIONS
        data = path.read_bytes() if path.is_file() else b""
        whole, end, torn = data.rpartition(b"\n")
        if torn:
            _log.warning("%s: the last line is incomplete and is ignored: %r", path, torn[:200])
        return whole + end

    def _find_last_version(self) -> int:
        """Return the highest version that was ever published here, as far as the folder shows; 0 if there is none."""
        found: list[int] = [0, *self.versions(), *(change["version"] for change in self.history())]
        with suppress(FileNotFoundError):
            found.append(_read_number(self.root / LAST_VERSION))
        return max(found)

    def _served(self) -> list[int]:
        """Return the stack of current versions: promotions push, rollbacks pop."""
        stack: list[int] = []
        for change in self.history():
            if change["action"] == "rollback":
                del stack[-1:]
            elif not stack or stack[-1] != change["version"]:
                stack.append(change["version"])
        return stack

    def _set_current(self, version: int, action: str) -> None:
        # The log is written first: a crash in between leaves an extra line, but never an unrecorded change.
        line = json.dumps(
            {"time": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, "version": version}
        )
        try:
            replace_text(self.root / PROMOTIONS, f"{self._read_promotions().decode()}{line}\n")
            replace_text(self.root / CURRENT, f"{version}\n")
        except OSError as error:
            raise RegistryError(f"{self.root}: version {version} can't be made current: {error}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the folder, and remove the remains of killed publications."""
        if not self.root.is_dir():
            raise RegistryError(f"{self.root}: the folder does not exist")
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in self.root.glob(f"{_STAGING}*"):
                shutil.rmtree(left)
            for name in (CURRENT, PROMOTIONS, LAST_VERSION):
                for left in find_left_aside(self.root / name):
                    left.unlink()
            yield
        finally:
            os.close(descriptor)


def _read_number(path: Path) -> int:
    """Read a file with a version number.

    Raises
    ------
    FileNotFoundError
    RegistryError
        If the file can't be read, or has no number.
    """
    try:
        with open_regular(path) as file:
            text = file.read(MAX_NUMBER_BYTES).decode().strip()
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path}: can't be read: {error}") from error
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise RegistryError(f"{path}: expected a version number, found {text!r}; allowed: up to {MAX_DIGITS} digits")
    return int(text)
