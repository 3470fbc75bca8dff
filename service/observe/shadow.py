"""Score customers with a second model, off the path of the answers, and compare."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from churn.translation import Translator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from churn.scorer import Scorer
    from service.observe.shadow_metrics import Comparison

MAX_WAITING = 20_000
"""Maximum number of customers that wait for the shadow; more are dropped."""

BLOCK_ROWS = 1_024
"""Customers scored together, so that the event loop never waits long for the interpreter."""

BUSY_SHARE = 0.85
"""If the rest of the process uses more than this share of a CPU, customers are dropped instead of scored."""

_log = logging.getLogger(__name__)


class Shadow:
    """Compares a second model with the served one in a thread.

    Parameters
    ----------
    champion, challenger : Scorer
        The served model and the second one.
    comparison : Comparison
    """

    def __init__(self, champion: Scorer, challenger: Scorer, comparison: Comparison) -> None:
        self._champion = champion
        self._challenger = challenger
        self._comparison = comparison
        self._translator = Translator(champion.schema, challenger.schema)
        self._blocks: deque[tuple[NDArray[np.float64], NDArray[np.float64]]] = deque()
        self._waiting = 0
        self._is_closed = False
        self._wakes = threading.Condition()
        self._since = time.monotonic()
        self._used = time.process_time()
        self._own = 0.0
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, raw: NDArray[np.float64], probabilities: NDArray[np.float64]) -> None:
        """Compare customers later, or drop them if too many wait. Never blocks for long.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
            Raw matrix of the served model.
        probabilities : ndarray of float64, shape (n,)
            Its probabilities.
        """
        with self._wakes:
            room = max(0, MAX_WAITING - self._waiting)
            for first in range(0, min(len(raw), room), BLOCK_ROWS):
                last = min(first + BLOCK_ROWS, room)
                self._blocks.append((raw[first:last], probabilities[first:last]))
            taken = min(len(raw), room)
            self._waiting += taken
            self._wakes.notify()
        if taken < len(raw):
            self._comparison.count("dropped", len(raw) - taken)

    def close(self) -> None:
        """Stop after the current block."""
        with self._wakes:
            self._is_closed = True
            self._wakes.notify()

    def _run(self) -> None:
        while (block := self._take()) is not None:
            raw, probabilities = block
            if self._is_busy():
                self._comparison.count("dropped", len(raw))
                continue
            try:
                self._compare(raw, probabilities)
            except Exception:  # noqa: BLE001  logged; the answers have been sent
                self._comparison.count("dropped", len(raw))
                _log.exception("the shadow %s failed", self._challenger.version)

    def _take(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        with self._wakes:
            while not self._blocks and not self._is_closed:
                self._wakes.wait()
            if self._is_closed:
                return None
            block = self._blocks.popleft()
            self._waiting -= len(block[0])
            return block

    def _is_busy(self) -> bool:
        """Return whether the rest of the process has used most of a CPU since the previous block."""
        now, used, own = time.monotonic(), time.process_time(), time.thread_time()
        others = (used - self._used) - (own - self._own)
        elapsed = now - self._since
        self._since, self._used, self._own = now, used, own
        return others > BUSY_SHARE * elapsed

    def _compare(self, raw: NDArray[np.float64], probabilities: NDArray[np.float64]) -> None:
        translated, allowed = self._translator.translate(raw)
        self._comparison.count("rejected", len(raw) - len(translated))
        if len(translated):
            found, other = probabilities[allowed], self._challenger.score_raw(translated)
            decisions = self._champion.decide(found), self._challenger.decide(other)
            self._comparison.compare(raw[allowed], found, other, decisions)
