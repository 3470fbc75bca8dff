"""Errors of the hyperparameter search."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from churn.errors import ChurnError

if TYPE_CHECKING:
    from pathlib import Path


TRIALS_SUFFIX = ".sqlite"
"""Suffix of the file of trials, which has the name of the configuration file otherwise."""


class TuningError(ChurnError):
    """A search that can't run, because Optuna is missing or the file of trials belongs to another search."""


def require_optuna() -> None:
    """Raise TuningError if Optuna is not installed."""
    if find_spec("optuna") is None:
        raise TuningError("the search needs Optuna, which is not installed: pip install 'churn[tune]'")


def check_output(output: Path) -> None:
    """Raise TuningError if the configuration can't be written, or would overwrite a file that no search wrote."""
    if not output.absolute().parent.is_dir():
        raise TuningError(f"{output.parent}: the folder does not exist; create it, or use another --output")
    if output.suffix == TRIALS_SUFFIX:
        raise TuningError(f"{output}: the trials are stored under this name; use a name such as tuned.toml")
    if output.exists() and not output.with_suffix(TRIALS_SUFFIX).exists():
        raise TuningError(
            f"{output}: the file exists and was not written by a search; move it, or use another --output"
        )
