"""Lifecycle of the served model: loading, ready, draining or failed."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from typing import TYPE_CHECKING, Literal

import numpy as np

from churn.errors import ChurnError
from churn.registry import Registry
from churn.scorer import load_scorer
from service.predict.served_model import ServedModel
from service.settings import MAX_CUSTOMERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from churn.engines import EngineChoice
    from service.observe.metrics import Metrics
    from service.settings import Settings

Phase = Literal["loading", "ready", "draining", "failed"]

WARM_UP_ROWS = (1, 1_000, 1, 10_000)
"""Batch sizes of the warm-up, which allocates buffers and completes lazy imports before the first request."""

_log = logging.getLogger(__name__)


class ModelState:
    """The served model and its phase.

    Parameters
    ----------
    settings : Settings
    metrics : Metrics

    Attributes
    ----------
    model : ServedModel or None
        None until a model is loaded.
    phase : {"loading", "ready", "draining", "failed"}
    reason : str
        Why the service is not ready; empty if it is.
    on_loaded : callable
        Called when loading has succeeded or failed, before the readiness check reports it.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.model: ServedModel | None = None
        self.phase: Phase = "loading"
        self.reason = "the model is being loaded"
        self.on_loaded: Callable[[], None] = lambda: None

    async def load(self) -> None:
        """Load the model in a thread, while the event loop responds to health checks; do nothing if that is done."""
        if self.phase != "loading":
            return
        started = time.perf_counter()
        try:
            model = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001  reported by the readiness check
            self._fail(str(error) if isinstance(error, ChurnError) else f"{type(error).__name__}: see the log", error)
            return
        self.model = model
        # All current objects are long-lived: exclude them from further garbage collections.
        gc.collect()
        gc.freeze()
        self._metrics.set_model(model.scorer)
        self._metrics.count_load("ok")
        if self.phase == "loading":  # not if the service is shutting down already
            self.phase, self.reason = "ready", ""
            self.on_loaded()
            self._metrics.set_ready(ready=True)
        _log.info(
            "model %s is ready: engine %s on %s, loaded in %.2f s",
            model.scorer.version,
            model.scorer.engine.name,
            model.scorer.engine.device,
            time.perf_counter() - started,
        )

    def drain(self) -> None:
        """Report the service as not ready from now on. Safe to call from a signal handler, as it only assigns."""
        self.phase, self.reason = "draining", "the service is shutting down"

    def _fail(self, reason: str, error: Exception) -> None:
        self.phase, self.reason = "failed", reason
        self.on_loaded()
        self._metrics.count_load("failed")
        _log.error("failed to load the model: %s", reason, exc_info=None if isinstance(error, ChurnError) else error)

    def _load(self) -> ServedModel:
        settings = self._settings
        return load_model(find_folder(settings), settings.engine, settings.threads, settings.max_customers)


def load_model(
    folder: Path, engine: EngineChoice = "auto", threads: int = 1, max_customers: int = MAX_CUSTOMERS
) -> ServedModel:
    """Load a model, verify it, create its request parser and response encoder, and warm it up.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    engine : {"auto", "onnx", "tensorflow"}
    threads : int
        Number of threads per operation of the engine.
    max_customers : int
        Maximum number of customers per request.

    Raises
    ------
    BundleError
        If a check fails or the model can't be served.
    EngineError
        If the engine is not installed or can't read its file.
    """
    scorer = load_scorer(folder, engine, threads)
    model = ServedModel.of(scorer, max_customers)
    for rows in WARM_UP_ROWS:
        scorer.score_raw(np.zeros((rows, len(scorer.schema.features))))
    scorer.score_row([0.0] * len(scorer.schema.features))
    return model


def find_folder(settings: Settings) -> Path:
    """Return the folder of the version to serve.

    Raises
    ------
    RegistryError
        If there is no such version.
    """
    registry = Registry(settings.models)
    if settings.model_version == "current":
        return registry.current_folder()
    return registry.folder(settings.model_version)
