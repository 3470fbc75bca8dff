"""The folder of model versions, with the current version and the history of promotions.

``current`` names the version to be served. ``promotions.jsonl`` records every change of it, oldest first, for rollbacks
and for audits.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn.errors import RegistryError
from churn.runtime.files import find_left_aside, replace_text, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CURRENT = "current"
PROMOTIONS = "promotions.jsonl"
_STAGING = ".staging-"


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
        path = self.root / CURRENT
        try:
            text = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise RegistryError(
                f"{self.root}: no version is current (there is no file {CURRENT}); train one, or promote one of: "
                f"{', '.join(map(str, self.versions())) or 'none'}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"{path}: can't be read: {error}") from error
        if not (text.isascii() and text.isdigit()):
            raise RegistryError(f"{path}: expected a version number, found {text!r}")
        return int(text)

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
            version = max(self.versions(), default=0) + 1
            staging = self.root / f"{_STAGING}{version}"
            staging.mkdir()
            try:
                write(staging, version)
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
            If the version does not exist.
        """
        with self._locked():
            self.folder(version)
            self._set_current(version, "promote")

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
            If there is no previous version, or it does not exist any more.
        """
        with self._locked():
            served = self._served()
            if len(served) < 2:
                raise RegistryError(f"{self.root}: no version was current before this one")
            version = served[-2]
            folder = self.folder(version)
            if check is not None:
                check(folder)
            self._set_current(version, "rollback")
        return version

    def history(self) -> list[dict[str, Any]]:
        """Return all changes of the current version, oldest first, with version, action and time.

        Raises
        ------
        RegistryError
            If a line of the file is invalid.
        """
        path = self.root / PROMOTIONS
        if not path.is_file():
            return []
        changes = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                change = json.loads(line)
                changes.append({**change, "version": int(change["version"]), "action": str(change["action"])})
            except (KeyError, TypeError, ValueError) as error:
                raise RegistryError(f"{path}: line {number} is invalid: {error!r}") from error
        return changes

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
        path = self.root / PROMOTIONS
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        replace_text(path, f"{before}{line}\n")
        replace_text(self.root / CURRENT, f"{version}\n")

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
            for name in (CURRENT, PROMOTIONS):
                for left in find_left_aside(self.root / name):
                    left.unlink()
            yield
        finally:
            os.close(descriptor)
