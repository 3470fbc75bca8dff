"""The file of trials, from which an interrupted search continues."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from training.tuning.errors import TuningError
from training.tuning.pruning import PairedPruner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAME = "churn tune"
IDENTITY = "identity"


@contextmanager
def open_study(path: Path, identity: Mapping[str, Any]) -> Iterator[optuna.Study]:
    """Open or create the study of a search.

    Parameters
    ----------
    path : Path
        An SQLite file, which survives a killed process.
    identity : mapping
        Parameters that all trials must have in common to be comparable.

    Raises
    ------
    TuningError
        If the file belongs to another search or is invalid, or another process uses it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TuningError(f"{path}: another search is using the file; wait, or use another --output") from None
        storage = _open_storage(path)
        try:
            yield _load(path, storage, identity)
        finally:
            # Before the descriptor below is opened: closing it would release SQLite's own locks.
            storage.remove_session()
            storage.engine.dispose()
    finally:
        os.close(descriptor)


def _open_storage(path: Path) -> optuna.storages.RDBStorage:
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise TuningError(f"{path}: not a file of trials: {error}; remove it, or use another --output") from error


def _load(path: Path, storage: optuna.storages.RDBStorage, identity: Mapping[str, Any]) -> optuna.Study:
    study = optuna.create_study(storage=storage, study_name=NAME, pruner=PairedPruner(), load_if_exists=True)
    wanted = json.loads(json.dumps(identity))
    found = study.user_attrs.get(IDENTITY, wanted)
    if found != wanted:
        other = ", ".join(name for name in wanted if found.get(name) != wanted[name])
        raise TuningError(
            f"{path}: its trials belong to another search ({other} differ) and can't be compared; use another "
            "--output, or remove the file to start again"
        )
    study.set_user_attr(IDENTITY, wanted)
    for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # left by a killed process
        study.tell(left.number, state=TrialState.FAIL)
    return study
