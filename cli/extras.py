"""Extras of the package that a command needs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from churn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = frozenset({"batch", "churn", "cli", "records", "service", "training"})


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Say what to install if a package is missing; also usable as a decorator of a command's function.

    Parameters
    ----------
    extra : str
        Extras of the package, separated by commas, that contain what is imported inside.

    Raises
    ------
    EngineError
        If a package of others is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OURS:
            raise
        raise EngineError(f"{error.name} is not installed: pip install 'churn[{extra}]'") from error
