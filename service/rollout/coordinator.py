"""Two-phase changes of the served models: all workers switch to models that all of them have loaded, or none does.

docs/decisions/model-changes.md explains the design.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from churn.errors import ChurnError
from churn.registry import CURRENT
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
    decode_from_worker,
    encode,
    now,
)
from service.rollout.plan import Planner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.rollout.messages import Staged
    from service.rollout.plan import Plan
    from service.rollout.staging import Staging
    from service.settings import Settings

LOOK_SECONDS = 1.0
"""Interval at which the file `current` is examined."""

COMMIT_SECONDS = 10.0
"""Time in which a worker must confirm a switch, which takes microseconds; one that does not is about to be replaced."""

_log = logging.getLogger(__name__)


class Member(Protocol):
    """A worker, as the coordinator sees it."""

    @property
    def is_alive(self) -> bool:
        """Whether it may still answer."""

    def send(self, message: bytes) -> None:
        """Send it a message."""

    def take_messages(self) -> list[bytes]:
        """Return the messages that it has sent."""


@dataclass(slots=True)
class _Switch:
    """A change that is being made.

    Attributes
    ----------
    number : int
    wish : Wish
    asked_by : Member or None
    plan : Plan
    answers : dict of Member to bool
        The workers that were asked to prepare; true once they have.
    recorded : Future or None
        The call of ``plan.record``, in the thread.
    until : float
        End of the current phase, from `time.monotonic`.
    uncommitted : set of Member or None
        The workers that have yet to confirm the switch; None before the commit.
    """

    number: int
    wish: Wish
    asked_by: Member | None
    plan: Plan
    until: float
    answers: dict[Member, bool] = field(default_factory=dict)
    recorded: Future[object] | None = None
    uncommitted: set[Member] | None = None


class Coordinator:
    """Changes the models of the workers together.

    It runs in the parent of several workers, or in the only process. `tick` is called ten times per second and does not
    wait; files are read in a thread.

    Parameters
    ----------
    settings : Settings
    staging : Staging
    prepare_seconds : float
        Time in which all workers must have loaded a model.

    Attributes
    ----------
    lineup : Lineup or None
        What is served, and what workers load that start now; None if no model could be loaded yet.
    last_change : Change or None
    fault : str
        Why the last change to what `current` names has failed; empty if it has not.
    """

    def __init__(self, settings: Settings, staging: Staging, prepare_seconds: float) -> None:
        self._settings = settings
        self._staging = staging
        self._planner = Planner(settings, staging)
        self._current = staging.registry.root / CURRENT
        self._prepare_seconds = prepare_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._wishes: list[tuple[Wish, Member | None]] = []
        self._looking: Future[Any] | None = None
        self._wanted: tuple[Wish, Member | None] | None = None
        self._switch: _Switch | None = None
        self._number = 0
        self._kept: list[Staged] = []
        self._members: Sequence[Member] = ()
        self._admitted: set[Member] = set()
        self._seen: object = None
        self._next_look = 0.0
        self.lineup: Lineup | None = None
        self.last_change: Change | None = None
        self.fault = ""

    def open(self) -> Lineup:
        """Verify the version to serve, and return it for the workers to load.

        Raises
        ------
        BundleError, RegistryError
            If there is no such version, or its files have changed.
        """
        self._seen = self._sign_current()
        self.lineup = self._planner.plan_start()
        self._kept = self.lineup.models
        settings = self._settings
        if settings.shadow_version is not None:
            self.wish(Wish("shadow", settings.shadow_version))
        if settings.canary_version is not None:
            self.wish(Wish("canary", settings.canary_version, settings.canary_share))
        return self.lineup

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def is_idle(self) -> bool:
        """Whether no change is being made or waits."""
        return not (self._wishes or self._wanted or self._switch or self._looking)

    def wish(self, wish: Wish, asked_by: Member | None = None) -> None:
        """Request a change; changes are made one after the other.

        Parameters
        ----------
        wish : Wish
        asked_by : Member, optional
            Gets the answer, with the number of the wish. It need not be a worker.
        """
        self._wishes.append((wish, asked_by))  # one step, so that other threads may call this

    def look_again(self) -> None:
        """Serve what the file `current` names now, even if it has not changed; with a fixed version, do nothing."""
        self.fault = ""
        if self._settings.model_version == "current":
            self.wish(Wish("current"))

    def admit(self, member: Member) -> None:
        """Have a worker take part in changes from now on."""
        self._admitted.add(member)

    def tick(self, members: Sequence[Member]) -> None:
        """Read the messages of the workers, and continue the change in progress.

        Parameters
        ----------
        members : sequence of Member
            All workers that start or serve.
        """
        self._members = members
        self._admitted &= {member for member in members if member.is_alive}
        for member in members:
            for message in member.take_messages():
                self._receive(member, decode_from_worker(message))
        if self._switch is not None:
            self._continue(self._switch)
        elif self._wanted is not None:
            self._finish_staging()
        elif self._looking is not None:
            self._finish_looking()
        elif self._wishes:
            self._wanted = self._wishes.pop(0)
            self._looking = self._thread.submit(self._planner.plan, self._wanted[0], self.lineup)
        elif self._settings.model_version == "current" and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._looking = self._thread.submit(self._sign_current)

    def _receive(self, member: Member, message: Loaded | Prepared | Committed | Wish) -> None:
        switch = self._switch
        if isinstance(message, Wish):
            self.wish(message, member)
        elif isinstance(message, Loaded):
            # A change may have been made since the worker was started.
            lineup = message.lineup if self.lineup is None else self.lineup
            member.send(encode(Admit(lineup, self.last_change)))
            if lineup == message.lineup:
                self.admit(member)
        elif switch is None or message.number != switch.number:
            return  # of a change that was aborted
        elif isinstance(message, Committed):
            if switch.uncommitted is not None:
                switch.uncommitted.discard(member)
        elif message.fault:
            self._abort(switch, message.fault)
        else:
            switch.answers[member] = True

    def _sign_current(self) -> object:
        """Return what changes whenever the file `current` is replaced."""
        try:
            status = self._current.stat()
        except OSError as error:
            return error.errno
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _finish_looking(self) -> None:
        assert self._looking is not None  # noqa: S101  the caller's condition
        if self._looking.done():
            found, self._looking = self._looking.result(), None
            if found != self._seen:
                self._seen = found
                self.wish(Wish("current"))

    def _finish_staging(self) -> None:
        assert self._looking is not None  # noqa: S101  set together
        assert self._wanted is not None  # noqa: S101
        if not self._looking.done():
            return
        (wish, asked_by), looking = self._wanted, self._looking
        self._wanted = self._looking = None
        try:
            plan: Plan = looking.result()
        except (ChurnError, OSError) as error:
            self._report(wish, asked_by, str(error))
            return
        if wish.action == "current" and plan.lineup == self.lineup:
            return
        self._number += 1
        self._switch = _Switch(self._number, wish, asked_by, plan, time.monotonic() + self._prepare_seconds)

    def _continue(self, switch: _Switch) -> None:
        if switch.uncommitted is not None:
            self._wait_for_commits(switch, switch.uncommitted)
            return
        for gone in switch.answers.keys() - self._admitted:
            del switch.answers[gone]
        for member in self._admitted - switch.answers.keys():
            switch.answers[member] = False
            member.send(encode(Prepare(switch.number, switch.plan.lineup)))
        if switch.answers and all(switch.answers.values()):
            self._record(switch)
        elif time.monotonic() > switch.until:
            self._abort(switch, f"it was not loaded by every worker within {self._prepare_seconds:g} s")

    def _record(self, switch: _Switch) -> None:
        """Make the version current, if that is part of the change, and commit."""
        if switch.plan.record is None:
            self._commit(switch)
        elif switch.recorded is None:
            switch.recorded = self._thread.submit(switch.plan.record)
        elif switch.recorded.done():
            try:
                switch.recorded.result()
            except (ChurnError, OSError) as error:
                self._abort(switch, str(error))
            else:
                self._commit(switch)

    def _wait_for_commits(self, switch: _Switch, uncommitted: set[Member]) -> None:
        uncommitted &= self._admitted
        if not uncommitted or time.monotonic() > switch.until:
            self._switch = None
            self._staging.keep_only(self._kept)
            self._report(switch.wish, switch.asked_by)

    def _commit(self, switch: _Switch) -> None:
        """Switch. A worker that starts from now on loads the new models, also in place of one that dies now."""
        # A worker that is starting may still load the previous models.
        before = [] if self.lineup is None else self.lineup.models
        self._kept = [*before, *switch.plan.lineup.models]
        self.lineup = switch.plan.lineup
        switch.uncommitted = set(switch.answers)
        switch.until = time.monotonic() + COMMIT_SECONDS
        for member in switch.answers:
            member.send(encode(Commit(switch.number)))

    def _abort(self, switch: _Switch, reason: str) -> None:
        for member in switch.answers:
            member.send(encode(Abort(switch.number)))
        self._switch = None
        self._staging.keep_only(self._kept)
        for model in switch.plan.lineup.models:
            reason = self._staging.show(reason, model)
        self._report(switch.wish, switch.asked_by, reason)

    def _report(self, wish: Wish, asked_by: Member | None, reason: str | None = None) -> None:
        """Log the end of a change, and tell the workers."""
        outcome: Literal["switched", "failed"] = "switched" if reason is None else "failed"
        version = wish.version
        if wish.action in ("current", "rollback") and reason is None and self.lineup is not None:
            version = self.lineup.champion.version
        change = Change(outcome, wish.action, None if version is None else str(version), reason, now())
        self.last_change = change
        if wish.action == "current":
            self.fault = reason or ""
        what = f"{wish.action} {'' if version is None else version}".strip()
        if reason is None:
            _log.info("models changed: %s", what)
        else:
            _log.error("the models are unchanged: %s: %s", what, reason)
        members = [member for member in self._members if member in self._admitted]
        if asked_by is not None and asked_by not in members:
            asked_by.send(encode(msgspec.structs.replace(change, number=wish.number)))
        for position, member in enumerate(members):
            number = wish.number if member is asked_by else 0
            member.send(encode(msgspec.structs.replace(change, number=number, is_counted=position == 0)))
