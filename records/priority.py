"""The share of the CPUs that a process takes from others."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICE = 10
"""Nice value of the process: it gets a tenth of a CPU that others want, if Linux does not share between sessions."""

LOWEST = 19
"""Nice value of the session: it gets a seventieth of a CPU that others want."""


class Priority:
    """The priority of this process, which nobody waits for, and which leads a session of its own.

    Linux shares the CPUs between sessions of processes first (autogroups), and a nice value counts only within one. The
    session has a nice value of its own, in /proc, which may be raised and lowered again. In a container there may be
    none; then the process keeps its nice value, which can't be lowered again.

    Parameters
    ----------
    session : Path
        The file with the session's nice value.
    """

    def __init__(self, session: Path = Path("/proc/self/autogroup")) -> None:
        self._session = session
        self._is_low = False

    def lower(self) -> None:
        """Take a small share of the CPUs while others need them."""
        if not self._is_low:
            self._is_low = True
            if not self._set(LOWEST):
                os.nice(NICE)

    def restore(self) -> None:
        """Take as large a share as others, if that is possible."""
        if self._is_low and self._set(0):
            self._is_low = False

    def _set(self, value: int) -> bool:
        with suppress(OSError):
            self._session.write_text(str(value))
            return True
        return False
