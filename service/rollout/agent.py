"""A worker's part in the changes of the served models."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from churn.errors import ChurnError
from churn.runtime.switching import pace, yield_often
from churn.trust.signatures import Trust
from service.guard.json_limits import JsonLimits
from service.observe.shadow import Shadow
from service.observe.shadow_metrics import Comparison
from service.predict.served_model import Canary
from service.rollout.loading import load_model
from service.rollout.messages import (
    Abort,
    Admit,
    Change,
    Commit,
    Committed,
    Lineup,
    Loaded,
    Prepare,
    Prepared,
    Wish,
    decode_for_worker,
    encode,
)
from service.rollout.requests import ChangeRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.observe.metrics import Metrics
    from service.predict.served_model import ServedModel
    from service.rollout.messages import Staged
    from service.settings import Settings
    from service.state import ModelState

ADMISSION_SECONDS = 0.1
"""Interval at which a worker that waits to be admitted checks whether it is to shut down."""

_log = logging.getLogger(__name__)


class LoadError(ChurnError):
    """A model that can't be loaded; the message is the reason."""


class ModelAgent:
    """Loads models when the coordinator asks for them, and switches when it says so. Runs in the event loop.

    Parameters
    ----------
    settings : Settings
    state : ModelState
    metrics : Metrics

    Attributes
    ----------
    send : callable
        Sends a message to the coordinator.
    """

    def __init__(self, settings: Settings, state: ModelState, metrics: Metrics) -> None:
        self._settings = settings
        self._state = state
        self._metrics = metrics
        self._models: dict[str, ServedModel] = {}
        """Those that are served, by digest."""
        self._prepared: tuple[int, Lineup, dict[str, ServedModel]] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._admission: asyncio.Future[Admit] | None = None
        self._shadow: Shadow | None = None
        self._requests = ChangeRequests(lambda wish: self.send(encode(wish)))
        self.send: Callable[[bytes], None] = lambda _: None

    async def start(self, lineup: Lineup) -> None:
        """Load the first models, and serve them once the coordinator has confirmed that they are served."""
        while self._state.phase == "loading":
            try:
                models = await self._load(lineup)
            except LoadError as error:
                self._state.fail(str(error))
                return
            self._admission = asyncio.get_running_loop().create_future()
            self.send(encode(Loaded(lineup)))
            while not self._admission.done() and self._state.phase == "loading":  # not if it is shutting down
                await asyncio.wait([self._admission], timeout=ADMISSION_SECONDS)
            if not self._admission.done():
                return
            admitted = self._admission.result()
            if admitted.lineup == lineup:
                self._serve(lineup, models)
                return
            lineup = admitted.lineup

    def receive(self, message: bytes) -> None:
        """Handle a message of the coordinator."""
        found = decode_for_worker(message)
        if isinstance(found, Admit):
            if self._admission is not None and not self._admission.done():
                # Now, as a later change may be reported before `start` continues.
                self._state.last_change = found.last_change
                self._admission.set_result(found)
        elif isinstance(found, Prepare):
            self._preparing = asyncio.get_running_loop().create_task(self._prepare(found))
        elif isinstance(found, Commit):
            if self._prepared is not None and self._prepared[0] == found.number:
                _, lineup, models = self._prepared
                self._prepared = None
                self._serve(lineup, models)
                self.send(encode(Committed(found.number)))
        elif isinstance(found, Abort):
            if self._prepared is not None and self._prepared[0] == found.number:
                self._prepared = None
        else:
            self._note(found)

    def fail(self, reason: str) -> None:
        """Report that no model can be loaded."""
        self._metrics.count_load("failed")
        _log.error("failed to load the model: %s", reason)
        self._state.fail(reason)

    async def ask(self, wish: Wish, seconds: float) -> Change:
        """Request a change; see `ChangeRequests.ask`."""
        return await self._requests.ask(wish, seconds)

    def close(self) -> None:
        """Stop the shadow."""
        if self._shadow is not None:
            self._shadow.close()

    def _mirror(self, model: ServedModel, challenger: ServedModel | None) -> None:
        """Compare the customers of the served model with a challenger from now on, or no longer."""
        self.close()
        if self._state.model is not None:
            self._state.model.recorder.counts.mirror = None
        self._shadow = None
        if challenger is not None:
            versions = model.scorer.version, challenger.scorer.version
            comparison = Comparison(self._metrics.shadow, *versions, model.scorer.schema)
            self._shadow = Shadow(model.scorer, challenger.scorer, comparison)
            model.recorder.counts.mirror = self._shadow.offer

    def _note(self, change: Change) -> None:
        self._state.last_change = msgspec.structs.replace(change, number=0, is_counted=False)
        if change.is_counted:
            self._metrics.count_change(change.outcome)
        self._requests.answer(change)

    async def _prepare(self, message: Prepare) -> None:
        try:
            models = await self._load(message.lineup)
        except LoadError as error:
            self.send(encode(Prepared(message.number, str(error))))
            return
        self._prepared = message.number, message.lineup, models
        self.send(encode(Prepared(message.number)))

    async def _load(self, lineup: Lineup) -> dict[str, ServedModel]:
        """Return the models by digest; those that are being served are used again.

        Raises
        ------
        LoadError
            If one can't be loaded; an unexpected error is logged, and not described in the message.
        """
        models: dict[str, ServedModel] = {}
        for staged in lineup.models:
            try:
                known = self._models.get(staged.digest)
                model = await asyncio.to_thread(self._load_one, staged) if known is None else known
            except ChurnError as error:
                self._metrics.count_load("failed")
                _log.error("failed to load the model: %s", error)
                raise LoadError(str(error)) from None
            except Exception as error:  # noqa: BLE001  reported, and logged with its traceback
                self._metrics.count_load("failed")
                _log.exception("failed to load the model: %s", staged.folder)
                raise LoadError(f"{type(error).__name__}: see the log") from None
            models[staged.digest] = model
        return models

    def _load_one(self, staged: Staged) -> ServedModel:
        settings, started = self._settings, time.perf_counter()
        is_change = self._state.model is not None  # requests are being answered meanwhile
        with yield_often(), pace() if is_change else nullcontext():
            model = load_model(
                Path(staged.folder),
                settings.engine,
                settings.threads,
                settings.max_customers,
                self._metrics,
                Trust(settings.trusted_keys),
                JsonLimits.of(settings),
            )
        self._metrics.count_load("ok")
        _log.info("model %s was loaded in %.2f s", model.scorer.version, time.perf_counter() - started)
        return model

    def _serve(self, lineup: Lineup, models: dict[str, ServedModel]) -> None:
        self._models = models
        model = models[lineup.champion.digest]
        if lineup.canary is not None:
            model = replace(model, canary=Canary(models[lineup.canary.digest], lineup.share))
        self._mirror(model, None if lineup.shadow is None else models[lineup.shadow.digest])
        self._state.serve(lineup, model)
        engine = model.scorer.engine
        _log.info("model %s is ready: engine %s on %s", lineup.champion.version, engine.name, engine.device)
