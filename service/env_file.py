"""A file with environment variables, which can be read again while the service runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dotenv.parser import parse_stream

from service.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


class EnvFile:
    """Sets environment variables to what a file says. Variables that were set before go before the file.

    The file has a line ``NAME=value`` per variable, as for Docker, systemd and ``uvicorn --env-file``.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._set: set[str] = set()

    def load(self) -> None:
        """Read the file, and set its variables; those that an earlier call has set and are gone are unset.

        Raises
        ------
        SettingsError
            If the file can't be read; the message names the line. Nothing is changed then.
        """
        found = self._read()
        for name in self._set - found.keys():
            os.environ.pop(name, None)
        self._set = {name for name in found if name in self._set or name not in os.environ}
        os.environ.update({name: found[name] for name in self._set})

    def _read(self) -> dict[str, str]:
        found: dict[str, str] = {}
        try:
            with self._path.open(encoding="utf-8") as lines:
                for binding in parse_stream(lines):
                    if binding.error or (binding.key is not None and binding.value is None):
                        text = binding.original.string.strip().partition("=")[0][:40]
                        raise SettingsError(
                            f"{self._path}: line {binding.original.line}: {text!r} can't be read; allowed: NAME=value"
                        )
                    if binding.key is not None and binding.value is not None:
                        found[binding.key] = binding.value
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self._path} can't be read: {error}") from error
        return found
