"""Which models a requested change leads to, with verified copies of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from churn.errors import RegistryError
from churn.trust.signatures import Trust
from service.rollout.messages import Lineup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.rollout.messages import Staged, Wish
    from service.rollout.staging import Staging
    from service.settings import Settings


_log = logging.getLogger(__name__)


class Plan(NamedTuple):
    """What a change leads to.

    Attributes
    ----------
    lineup : Lineup
        The models to be served.
    record : callable or None
        Makes the version current in the folder of the models; called once all workers have loaded it.
    """

    lineup: Lineup
    record: Callable[[], object] | None = None


class Planner:
    """Plans changes. Reads and copies files, so it is called in a thread.

    Parameters
    ----------
    settings : Settings
    staging : Staging
    """

    def __init__(self, settings: Settings, staging: Staging) -> None:
        self._fixed = None if settings.model_version == "current" else settings.model_version
        self._staging = staging
        self._registry = staging.registry
        self._trust = Trust(settings.trusted_keys)

    def plan_start(self) -> Lineup:
        """Return the models to serve at first.

        Raises
        ------
        BundleError, RegistryError
            If there is no such version, its files have changed, or a signature that is required is missing or wrong.
        KeyFileError
            If the trusted keys can't be read.
        """
        version = self._registry.current() if self._fixed is None else self._fixed
        if (keys := self._trust.load()) is not None:
            _log.info("serving only model versions signed with one of these keys: %s", ", ".join(keys.keys))
        return Lineup(self._staging.stage(version, self._trust))

    def plan(self, wish: Wish, before: Lineup | None) -> Plan:
        """Plan a change.

        Parameters
        ----------
        wish : Wish
        before : Lineup or None
            The models that are being served.

        Raises
        ------
        BundleError, RegistryError
            If it can't be made.
        """
        if wish.action in ("shadow", "canary"):
            if before is None:
                raise RegistryError("no model is served yet")
            return Plan(self._plan_challenger(wish, before))
        if wish.action == "current":
            return Plan(self._plan_champion(self._registry.current(), before))
        if self._fixed is not None:
            raise RegistryError(
                f"the version is fixed: CHURN_MODEL_VERSION is {self._fixed}; start the service without it to change "
                "versions while it runs"
            )
        if wish.action == "rollback":
            version = self._registry.previous()
            return Plan(self._plan_champion(version, before), lambda: self._roll_back(version))
        if wish.version is None:
            raise RegistryError("a promotion needs a version")
        promoted = wish.version
        return Plan(self._plan_champion(promoted, before), lambda: self._registry.promote(promoted))

    def _plan_challenger(self, wish: Wish, before: Lineup) -> Lineup:
        staged = None if wish.version is None else self._staging.stage(wish.version, self._trust)
        if staged is not None:
            if staged.version == before.champion.version:
                raise RegistryError(
                    f"version {staged.version} is the served one; choose another one to compare with it"
                )
            self._check_digest(staged, before)
        if wish.action == "shadow":
            return msgspec.structs.replace(before, shadow=staged)
        return msgspec.structs.replace(before, canary=staged, share=0.0 if staged is None else wish.share)

    def _plan_champion(self, version: int, before: Lineup | None) -> Lineup:
        champion = self._staging.stage(version, self._trust)
        if before is None:
            return Lineup(champion)
        self._check_digest(champion, before)
        lineup = msgspec.structs.replace(before, champion=champion)
        # No model is compared with itself.
        if lineup.shadow is not None and lineup.shadow.version == version:
            lineup = msgspec.structs.replace(lineup, shadow=None)
        if lineup.canary is not None and lineup.canary.version == version:
            lineup = msgspec.structs.replace(lineup, canary=None, share=0.0)
        return lineup

    def _check_digest(self, staged: Staged, before: Lineup) -> None:
        """Refuse other files under a number that is in use: one version in an answer must name one model."""
        for served in before.models:
            if served.version == staged.version and served.digest != staged.digest:
                folder = self._registry.root / str(staged.version)
                raise RegistryError(
                    f"{folder}: the files differ from version {staged.version} as it is being served; publish them "
                    "under a new number"
                )

    def _roll_back(self, version: int) -> None:
        def check(folder: Path) -> None:
            if folder.name != str(version):
                raise RegistryError(f"{self._registry.root}: the current version has changed in the meantime")

        self._registry.rollback(check)
