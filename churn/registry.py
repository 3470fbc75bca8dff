"""The folder of models: whole-numbered versions, the current one, and who was current before.

``current`` names the version that is served; ``promotions.jsonl`` keeps every change of it, oldest first, so that
a rollback returns to what was served before and a year later one can tell what was served when.
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
    """The models under one folder.

    Parameters
    ----------
    root : Path
        Holds ``1/``, ``2/``, …, ``current`` and ``promotions.jsonl``. Made by the first publication.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> list[int]:
        """Return the versions there are, ascending."""
        if not self.root.is_dir():
            return []
        names = (path.name for path in self.root.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name)

    def folder(self, version: int) -> Path:
        """Return the folder of a version.

        Raises
        ------
        RegistryError
            If there is no such version; the message lists those there are.
        """
        if version not in self.versions():
            there = ", ".join(map(str, self.versions())) or "none"
            raise RegistryError(f"{self.root}: there is no version {version}; there is: {there}")
        return self.root / str(version)

    def current(self) -> int:
        """Return the version being served.

        Raises
        ------
        RegistryError
            If none is, or the file names none.
        """
        path = self.root / CURRENT
        try:
            text = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise RegistryError(
                f"{self.root}: no version is current (there is no file {CURRENT}): train one, or promote one of: "
                f"{', '.join(map(str, self.versions())) or 'none'}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"{path}: can't be read: {error}") from error
        if not (text.isascii() and text.isdigit()):
            raise RegistryError(f"{path}: expected a version, a whole number, and found {text!r}")
        return int(text)

    def current_folder(self) -> Path:
        """Return the folder of the version being served; RegistryError if there is none."""
        return self.folder(self.current())

    def publish(self, write: Callable[[Path, int], None], *, promote: bool = True) -> int:
        """Add a version, whole or not at all.

        Parameters
        ----------
        write : callable (folder, version)
            Fills the folder, which nobody else sees yet.
        promote : bool
            Whether the new version becomes the current one.

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
        """Make a version the one being served.

        Raises
        ------
        RegistryError
            If there is no such version.
        """
        with self._locked():
            self.folder(version)
            self._set_current(version, "promote")

    def rollback(self) -> int:
        """Return to the version served before the current one, and say which that is.

        A second rollback goes one further back.

        Raises
        ------
        RegistryError
            If nothing was served before, or that version is gone.
        """
        with self._locked():
            served = self._served()
            if len(served) < 2:
                raise RegistryError(f"{self.root}: no version was served before the current one")
            version = served[-2]
            self.folder(version)
            self._set_current(version, "rollback")
        return version

    def history(self) -> list[dict[str, Any]]:
        """Return every change of the current version, oldest first: version, action and time.

        Raises
        ------
        RegistryError
            If a line of the file can't be understood.
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
                raise RegistryError(f"{path}: line {number} can't be understood: {error!r}") from error
        return changes

    def _served(self) -> list[int]:
        """Return the stack of served versions: a promotion puts one on top, a rollback takes one off."""
        stack: list[int] = []
        for change in self.history():
            if change["action"] == "rollback":
                del stack[-1:]
            elif not stack or stack[-1] != change["version"]:
                stack.append(change["version"])
        return stack

    def _set_current(self, version: int, action: str) -> None:
        # The log first: a crash between the two leaves a line too many, never a change without a line.
        line = json.dumps(
            {"time": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, "version": version}
        )
        path = self.root / PROMOTIONS
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        replace_text(path, f"{before}{line}\n")
        replace_text(self.root / CURRENT, f"{version}\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock; remove what a killed publication left, which nobody else can be writing now."""
        if not self.root.is_dir():
            raise RegistryError(f"{self.root}: there is no such folder")
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
