"""Mode durable: answers wait until the writer has committed their records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import RequestProblem
from service.keeping.dispatch import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.observe.record_metrics import RecordMetrics
    from service.settings import Settings

ANSWER_SECONDS = 5.0
"""Longest time that an answer waits for its records; then it is a 503."""


class DurableDispatcher(Dispatcher):
    """Refuses what is not committed in time. All methods are to be called in the event loop.

    Parameters
    ----------
    settings, metrics, on_settled
        See `Dispatcher`.
    on_stuck : callable
        Called with the reason if the store does not answer in time.
    """

    is_durable = True
    unkept = "refused"
    consequence = "requests get 503"

    def __init__(
        self,
        settings: Settings,
        metrics: RecordMetrics,
        on_settled: Callable[[], None],
        on_stuck: Callable[[str], None],
    ) -> None:
        super().__init__(settings, metrics, on_settled)
        self._on_stuck = on_stuck
        self._is_late = False

    def check(self) -> None:
        """Raise a `RequestProblem` (503) if a record could not be kept now."""
        if self._problem:
            raise RequestProblem.not_recorded(self._problem)

    def _settle(self, number: int, state: str, reason: str) -> None:
        if self._is_late and state == "committed":
            self._is_late = False
            self._note_problem("")
        super()._settle(number, state, reason)

    def _look(self) -> None:
        if self._find_age() <= ANSWER_SECONDS:
            return
        reason = f"the store gave no answer within {ANSWER_SECONDS:g} s"
        self._is_late = True
        self._note_problem(reason)
        for sent in self._sent:
            calls, sent.waiting = sent.waiting, []
            for call in calls:
                call(reason)
        self._on_stuck(reason)
