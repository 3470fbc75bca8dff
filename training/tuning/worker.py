"""A process that evaluates configurations, replaced regularly because TensorFlow keeps all compiled graphs."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from training.tuning.errors import TuningError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.default.config import Config
    from training.tuning.objective import Objective

FITS = 40
"""Number of evaluations after which the process is replaced; it has grown by about a gigabyte by then."""


class Worker:
    """Context manager that evaluates configurations with `training.tuning.objective.Objective` in a separate process.

    Parameters
    ----------
    schema, raw, labels, **options
        Parameters of `Objective`.
    """

    def __init__(self, schema: Schema, raw: NDArray[np.float64], labels: NDArray[np.float64], **options: int) -> None:
        self._arguments = (schema, raw, labels)
        self._options = options
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._fits = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def judge(self, config: Config) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield the held-out customers and their log losses in nats for each fold.

        Yields
        ------
        rows : ndarray of int64, shape (n,)
        losses : ndarray of float64, shape (n,)

        Raises
        ------
        TuningError
            If the process has ended, for example because memory ran out.
        """
        for part in range(self._options["parts"]):
            if self._fits == FITS:
                self._stop()
            yield self._ask(config, part)

    def _ask(self, config: Config, part: int) -> Any:  # noqa: ANN401  response of the process
        connection = self._connection or self._start()
        self._fits += 1
        try:
            connection.send((config, part))
            answer = connection.recv()
        except (EOFError, OSError) as error:
            code = self._stop()
            raise TuningError(
                f"the training process ended unexpectedly (exit code {code}), possibly because memory ran out; run the "
                "same command to continue"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._arguments, self._options), name="tuning", daemon=True
        )
        self._process.start()
        theirs.close()
        self._connection, self._fits = ours, 0
        return ours

    def _stop(self) -> int | None:
        """Stop the process; return its exit code."""
        if self._process is None or self._connection is None:
            return None
        self._connection.close()
        self._process.join(0.1)
        code = self._process.exitcode
        self._process.terminate()
        self._process.join()
        self._process = self._connection = None
        self._fits = 0
        return code


def _serve(connection: Connection, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Evaluate (configuration, fold) requests until the connection is closed."""
    # Ctrl-C reaches both processes; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # tqdm's lock is a system semaphore, which a terminated process would leave behind.
    tqdm.set_lock(threading.RLock())
    from training.tuning.objective import Objective

    objective = Objective(*arguments, **options)
    # The parent has closed the connection.
    with contextlib.suppress(EOFError, OSError):
        while True:
            config, part = connection.recv()
            connection.send(_answer(objective, config, part))


def _answer(objective: Objective, config: Config, part: int) -> Any:  # noqa: ANN401  the result or an exception
    try:
        return objective.judge_part(config, part)
    except Exception as error:  # noqa: BLE001  raised again in the parent
        return error
