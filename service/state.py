"""The served models and the phase of the service: loading, ready, draining or failed."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Literal

from service.memory import freeze_heap

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.observe.metrics import Metrics
    from service.predict.served_model import ServedModel
    from service.rollout.messages import Change, Lineup

Phase = Literal["loading", "ready", "draining", "failed"]

RELEASE_SECONDS = 1.0
"""Delay after a switch until the memory of the previous model is collected; most of its requests have ended by then."""

_log = logging.getLogger(__name__)


class ModelState:
    """The served models and the phase of the service.

    Parameters
    ----------
    metrics : Metrics

    Attributes
    ----------
    model : ServedModel or None
        Scores the customers; None until a model is loaded. A request takes it once, and keeps it.
    lineup : Lineup or None
        All served models, with their private copies.
    last_change : Change or None
        The last change of the models while the service ran, or the last attempt.
    phase : {"loading", "ready", "draining", "failed"}
    reason : str
        Why the service is not ready; empty if it is.
    on_loaded : callable
        Called when loading has succeeded or failed, before the readiness check reports it.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.model: ServedModel | None = None
        self.lineup: Lineup | None = None
        self.last_change: Change | None = None
        self.phase: Phase = "loading"
        self.reason = "the model is being loaded"
        self.on_loaded: Callable[[], None] = lambda: None

    @property
    def ready_version(self) -> str | None:
        """Version of the served model; None if the service is not ready."""
        return self.model.scorer.version if self.model is not None and self.phase == "ready" else None

    def serve(self, lineup: Lineup, model: ServedModel) -> None:
        """Serve other models from now on. Requests in flight end with the one they began with."""
        is_first = self.model is None
        self.model, self.lineup = model, lineup
        self._metrics.set_model(model.scorer, model.recorder.counts)
        if not is_first:
            asyncio.get_running_loop().call_later(RELEASE_SECONDS, gc.collect)
            return
        freeze_heap()  # objects of later models are few, and are released when the next one replaces them
        if self.phase != "draining":
            self.phase, self.reason = "ready", ""
            self.on_loaded()
            self._metrics.set_ready(ready=True)

    def fail(self, reason: str) -> None:
        """Report that no model could be loaded."""
        if self.phase == "loading":
            self.phase, self.reason = "failed", reason
            self.on_loaded()

    def drain(self) -> None:
        """Report the service as not ready from now on. Safe to call from a signal handler, as it only assigns."""
        self.phase, self.reason = "draining", "the service is shutting down"
