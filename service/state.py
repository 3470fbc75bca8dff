"""The loaded model and its life: loading, then ready, then draining; or failed, with the reason."""

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
"""Batch sizes scored before the first request, which would otherwise pay for buffers and lazy imports."""

_log = logging.getLogger(__name__)


class ModelState:
    """Holds the model that is served.

    Parameters
    ----------
    settings : Settings
    metrics : Metrics

    Attributes
    ----------
    model : ServedModel or None
        None until one is loaded.
    phase : {"loading", "ready", "draining", "failed"}
    reason : str
        Why the service is not ready; empty when it is.
    on_loaded : callable
        Called when the model is loaded or has failed to, before a client can learn of it.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.model: ServedModel | None = None
        self.phase: Phase = "loading"
        self.reason = "the model is being loaded"
        self.on_loaded: Callable[[], None] = lambda: None

    async def load(self) -> None:
        """Load the model in a thread; the event loop answers health checks meanwhile."""
        started = time.perf_counter()
        try:
            model = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001  whatever it was, the process stays up to say so
            self._fail(str(error) if isinstance(error, ChurnError) else f"{type(error).__name__}: see the log", error)
            return
        self.model = model
        # What lives now lives long: the garbage collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self._metrics.set_model(model.scorer)
        self._metrics.count_load("ok")
        if self.phase == "loading":  # not if it was told to stop meanwhile
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
        """Be ready no more. Only assigns, so a signal handler may call it at any moment."""
        self.phase, self.reason = "draining", "the service is shutting down"

    def _fail(self, reason: str, error: Exception) -> None:
        self.phase, self.reason = "failed", reason
        self.on_loaded()
        self._metrics.count_load("failed")
        _log.error("the model can't be loaded: %s", reason, exc_info=None if isinstance(error, ChurnError) else error)

    def _load(self) -> ServedModel:
        settings = self._settings
        return load_model(find_folder(settings), settings.engine, settings.threads, settings.max_customers)


def load_model(
    folder: Path, engine: EngineChoice = "auto", threads: int = 1, max_customers: int = MAX_CUSTOMERS
) -> ServedModel:
    """Load and verify a model, make what reads its requests and writes its answers, and warm it up.

    Parameters
    ----------
    folder : Path
        A version's folder.
    engine : {"auto", "onnx", "tensorflow"}
    threads : int
        Threads inside one operation of the engine.
    max_customers : int
        Most customers in one request.

    Raises
    ------
    BundleError
        If a check fails, or the model can't be served.
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
        If there is none.
    """
    registry = Registry(settings.models)
    if settings.model_version == "current":
        return registry.current_folder()
    return registry.folder(settings.model_version)
