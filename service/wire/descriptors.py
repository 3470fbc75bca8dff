"""How many connections a worker may have: fewer than it may open files."""

from __future__ import annotations

import logging
import resource

SPARE_CONNECTIONS = 32
"""Connections beyond the limit on which probes are answered; all other requests are refused on them."""

RESERVED_FILES = 128
"""File descriptors that are kept for files, the connections above and those that are being refused; a quarter, if the
limit is low."""

MOST_REFUSED = 16
"""Maximum number of refused connections that stay open for a moment, so that their clients can read why."""

_log = logging.getLogger(__name__)


def find_most_connections(setting: int | None) -> int:
    """Return the maximum number of connections of a worker, from ``CHURN_MAX_CONNECTIONS`` and the limit of files."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        files = 2**20
    possible = max(1, files - min(RESERVED_FILES, files // 4) - SPARE_CONNECTIONS - MOST_REFUSED)
    if setting is not None and setting > possible:
        _log.warning(
            "CHURN_MAX_CONNECTIONS=%d is lowered to %d: a worker may open %d files (ulimit -n)",
            setting,
            possible,
            files,
        )
    return possible if setting is None else min(setting, possible)
